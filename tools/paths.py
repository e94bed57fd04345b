"""Where things lie. All paths hang on the root of the checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BOOK = ROOT / "book"
CHAPTERS = BOOK / "chapters.toml"
CONFIG = ROOT / "_config.yml"
CONSTRAINTS = ROOT / "constraints.txt"
STATIC = ROOT / "static"
TOC = ROOT / "_toc.yml"

VENV = ROOT / ".venv"

BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
HTML = BUILD / "html"
LOGS = BUILD / "logs"
SOURCE = BUILD / "source"


def venv_program(name: str, venv: Path = VENV) -> Path:
    """The path of a program in the virtual environment."""
    if os.name == "nt":
        return venv / "Scripts" / f"{name}.exe"
    return venv / "bin" / name
