"""The virtual environment: made once, kept while its requirements stay the same."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.console import Stopped, say, step
from tools.paths import CONSTRAINTS, ROOT, VENV, venv_program

READER = ("requirements.txt",)
DEVELOPER = (*READER, "requirements-dev.txt")
PEERS = (*DEVELOPER, "requirements-peers.txt")
# The package itself is installed once; its metadata stands in these files.
PACKAGE = ("pyproject.toml", "requirements-notebook.txt")
PROGRESS_SECONDS = 15
TELLING = ("Collecting", "Downloading", "Building", "Installing collected packages")

Stamp = dict[str, str]


def ensure(requirements: Sequence[str] = READER) -> None:
    """Make the virtual environment, or bring it up to date; else do nothing."""
    wanted = fingerprint(ROOT, [*requirements, CONSTRAINTS.name, *PACKAGE])
    stamp_file = VENV / "lossbook-stamp.json"
    found = read_stamp(stamp_file)
    if is_current(found, wanted) and venv_program("python").exists():
        return
    # Without a stamp, an interrupted installation is done again.
    stamp_file.unlink(missing_ok=True)
    if venv_python_version() != platform.python_version():
        create()
    install(requirements)
    stamp_file.write_text(json.dumps(wanted, indent=1) + "\n")


def fingerprint(root: Path, files: Sequence[str]) -> Stamp:
    """The Python version and the hash of each file that decides what is installed."""
    stamp = {"python": platform.python_version()}
    for name in files:
        stamp[name] = hashlib.sha256((root / name).read_bytes()).hexdigest()
    return stamp


def read_stamp(path: Path) -> Stamp:
    """The stamp of the last complete installation, empty if there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def is_current(found: Stamp, wanted: Stamp) -> bool:
    """True if all that is wanted was installed (more may be there)."""
    return wanted.items() <= found.items()


def venv_python_version() -> str | None:
    """The Python version of the virtual environment, None if it does not run."""
    code = "import platform; print(platform.python_version())"
    try:
        answer = subprocess.run(
            [venv_program("python"), "-c", code],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def create(venv: Path = VENV) -> None:
    """Make an empty virtual environment."""
    with step(f"virtual environment in {venv.name} (Python {sys.version.split()[0]})"):
        command = [sys.executable, "-m", "venv", "--clear", str(venv)]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            raise Stopped(venv_failure(answer.stdout + answer.stderr))


def venv_failure(output: str) -> str:
    """What to tell the reader when the virtual environment cannot be made."""
    version = ".".join(platform.python_version_tuple()[:2])
    return (
        f"{output.strip()}\n"
        "The virtual environment could not be made. On Debian and Ubuntu, install "
        f"the missing part with `apt-get install python{version}-venv` and run the "
        "command again."
    )


def install(requirements: Sequence[str], venv: Path = VENV) -> None:
    """Install the requirements at the locked versions, and this package."""
    constraints = ["-c", str(CONSTRAINTS)]
    torch_index = os.environ.get("TORCH_INDEX")
    if torch_index:
        torch = ["torch", *constraints, "--extra-index-url", torch_index]
        pip(torch, f"torch from {torch_index}", venv)
    else:
        announce_torch(venv)
    files = [part for name in requirements for part in ("-r", str(ROOT / name))]
    pip([*files, *constraints], f"packages of {' and '.join(requirements)}", venv)
    pip(["--no-deps", "-e", str(ROOT)], "lossbook itself", venv)


def announce_torch(venv: Path = VENV) -> None:
    """On Linux, say beforehand that pip is about to fetch the CUDA build of torch."""
    if sys.platform != "linux" or has_torch(venv):
        return
    config = subprocess.run(
        [venv_program("python", venv), "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    if cpu_torch_at_hand(config, os.environ):
        return
    say(
        "   torch comes with CUDA here: about 3 GB to download. For the CPU build\n"
        "   (0.2 GB; enough for this book) stop now and run instead:\n"
        "   TORCH_INDEX=https://download.pytorch.org/whl/cpu make book"
    )


def has_torch(venv: Path) -> bool:
    """True if torch is installed already."""
    return any(venv.glob("lib/python*/site-packages/torch/__init__.py"))


def cpu_torch_at_hand(pip_config: str, environ: Mapping[str, str]) -> bool:
    """True if pip is set up to find a CPU build of torch.

    Args:
        pip_config: The output of `pip config list`.
        environ: The process's environment.
    """
    settings = pip_config.splitlines()
    settings += [f"{k}={v}" for k, v in environ.items() if k.startswith("PIP_")]
    for setting in settings:
        name, _, value = setting.partition("=")
        words = value.strip("'\"").split()
        if re.search(r"index.url$", name, re.IGNORECASE):
            if any(word.rstrip("/").endswith("whl/cpu") for word in words):
                return True
        elif re.search(r"find.links$", name, re.IGNORECASE) and any(
            any(Path(word.removeprefix("file://")).glob("torch-*+cpu*.whl"))
            for word in words
        ):
            return True
    return False


def pip(arguments: Sequence[str], title: str, venv: Path = VENV) -> None:
    """Run `pip install`, with a line now and then; print its log only on failure."""
    log = venv / "lossbook-install.log"
    python = str(venv_program("python", venv))
    command = [python, "-m", "pip", "install", "--progress-bar", "off", *arguments]
    with step(f"installing {title}"):
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
            )
        while not has_ended(process):
            say(f"   {doing_now(log)}")
        if process.returncode != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            raise Stopped(f"{tail}\npip failed (the whole log: {log})")


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait a little; True if the process is over."""
    try:
        process.wait(timeout=PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def doing_now(log: Path) -> str:
    """What pip does, from its log, short enough for a terminal."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    told = [line for line in lines if line.startswith(TELLING)]
    return (told or ["starting"])[-1][:70]
