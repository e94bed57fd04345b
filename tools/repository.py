"""The repository's address: `_config.yml` has it, every copy follows.

`make repository URL=https://github.com/someone/their-book` writes all of them.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.console import Stopped, say
from tools.paths import CONFIG, ROOT

FORM = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
SETTING = re.compile(r"^  url: (\S+)$", re.MULTILINE)
# Files that may hold a copy.
SUFFIXES = {".cff", ".cfg", ".css", ".ipynb", ".js", ".md", ".py", ".toml", ".txt"}
SUFFIXES |= {".yml", ".yaml"}
MADE = {".git", ".venv", "_build", "build", "dist", "lossbook.egg-info"}


def address() -> str:
    """The address in `_config.yml`."""
    found = SETTING.search(CONFIG.read_text(encoding="utf-8"))
    if not found:
        raise Stopped(f"{CONFIG.name} must hold a line `  url: https://...`")
    return found[1]


def files(root: Path = ROOT) -> Iterator[Path]:
    """The project's own text files, not what was installed or built."""
    for top in sorted(root.iterdir()):
        if top.name in MADE:
            continue
        for path in [top, *sorted(top.rglob("*"))]:
            if path.suffix in SUFFIXES and path.is_file():
                yield path


def copies(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Every copy of the address of a repository with this project's name."""
    name = re.escape(address().rsplit("/", 1)[-1])
    form = re.compile(rf"https://github\.com/[\w.-]+/{name}(?![\w-])")
    for path in files(root):
        for found in form.findall(path.read_text(encoding="utf-8")):
            yield path, found


def main(arguments: Sequence[str]) -> int:
    """Replace the address in every file that has it."""
    if len(arguments) != 1 or not FORM.fullmatch(arguments[0].rstrip("/")):
        raise Stopped(
            "The address must look like https://github.com/someone/their-book; run "
            "`make repository URL=https://github.com/someone/their-book`."
        )
    old, new = address(), arguments[0].rstrip("/").removesuffix(".git")
    changed = 0
    for path in files():
        text = path.read_text(encoding="utf-8")
        if old in text:
            path.write_text(text.replace(old, new), encoding="utf-8")
            changed += 1
    say(f"{old} -> {new} in {changed} files")
    return 0
