"""Entry of every command: `python3 -m tools VERB` (Windows: `py -m tools VERB`).

This file must run on an old Python too, so that it can say what is needed.
"""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
CANDIDATES = ["python3.11", "python3.12", "python3.13", "python3.14"]


def restart_on_newer_python() -> int:
    """Run the same command on a newer Python, or say what is needed."""
    for name in CANDIDATES:
        found = shutil.which(name)
        if found:
            return subprocess.call([found, "-m", "tools", *sys.argv[1:]])
    print(
        "lossbook needs Python 3.11 or newer, this is Python {}.{}. Install it "
        "(Debian: apt-get install python3.11 python3.11-venv; or python.org) and "
        "run the command again.".format(*sys.version_info[:2]),
        file=sys.stderr,
    )
    return 1


if sys.version_info < OLDEST:
    sys.exit(restart_on_newer_python())

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tools.cli import main  # noqa: E402  (only a new Python can read it)

sys.exit(main())
