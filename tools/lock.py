"""Write constraints.txt: the versions of a fresh environment."""

import argparse
import platform
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools import environment
from tools.console import Stopped, say
from tools.paths import CONSTRAINTS, ROOT, venv_program

HEADER = """\
# The exact versions that `make` and continuous integration use.
# Made by `make lock`; do not edit.
"""
REQUIREMENTS = (*environment.PEERS, "assignments/requirements.txt")


def locked_torch(constraints: str) -> str | None:
    """The version of torch in a constraints file."""
    found = re.search(r"^torch==(\S+)$", constraints, re.MULTILINE)
    return found and found[1]


def constraints_from(freeze: str) -> str:
    """The text of constraints.txt.

    A local version such as `2.13.0+cpu` exists on one index only; the constraint
    names the public version, and any build of it will do.
    """
    lines = [re.sub(r"(==[^+\s]+)\+\S+$", r"\1", line) for line in freeze.splitlines()]
    return HEADER + "\n".join(line for line in lines if line) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Make a fresh environment, install the ranges, write down what came."""
    made = argparse.ArgumentParser(prog="lock", description=__doc__)
    made.add_argument("--torch", help="a version of torch (default: as locked now)")
    options = made.parse_args(arguments)
    torch = options.torch or locked_torch(CONSTRAINTS.read_text())
    files = [name for name in REQUIREMENTS if (ROOT / name).exists()]
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        environment.create(venv)
        wanted = [part for name in files for part in ("-r", str(ROOT / name))]
        if torch:
            wanted.append(f"torch=={torch}")
        environment.announce_torch(venv)
        environment.pip(wanted, " and ".join(files), venv)
        command = [str(venv_program("python", venv)), "-m", "pip", "freeze"]
        freeze = subprocess.run(command, capture_output=True, text=True)
        if freeze.returncode != 0:
            raise Stopped(f"pip freeze failed:\n{freeze.stderr}")
    CONSTRAINTS.write_text(constraints_from(freeze.stdout))
    say(f"{CONSTRAINTS.name} written for Python {platform.python_version()}")
    return 0
