"""Build the site: assemble a source tree, run Jupyter Book in it, check the pages.

`make book` shows freshly executed notebooks; `make test` shows the stored ones.
"""

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat

from lossbook import style
from tools import links, notebooks, pages
from tools.console import Stopped, headline, say, step
from tools.notebooks import discover, execute_changed, print_failures
from tools.paths import BOOK, BUILD, CONFIG, HTML, LOGS, ROOT, SOURCE, STATIC, TOC

FAVICON = "static/favicon.svg"
DOCTREES = BUILD / ".doctrees"
# What a browser may need of MathJax 3: one script and its fonts.
MATHJAX = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2")
MATHJAX_NOTICE = """\
MathJax 3.2.2, https://www.mathjax.org
Copyright (c) 2009-2022 The MathJax Consortium
Licensed under the Apache License, Version 2.0:
https://www.apache.org/licenses/LICENSE-2.0
Copied unchanged from the Python package sphinx-mathjax-offline.
"""


# --- the source tree -----------------------------------------------------------


class Tree:
    """A folder that is brought to a wanted content.

    A file with the same content keeps its time, so that Sphinx reads only what
    changed; a file that nobody put this time is removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wanted: set[Path] = set()

    def put(self, name: str | Path, content: bytes) -> bool:
        """Write one file, unless it is there with this content.

        Returns:
            Whether the file was written.
        """
        path = self.folder / name
        self.wanted.add(path)
        if path.exists() and path.read_bytes() == content:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return True

    def copy(self, source: Path, name: str | Path) -> bool:
        """Copy a file, or a folder with all that is in it; as `put`."""
        if source.is_file():
            return self.put(name, source.read_bytes())
        inside = [path for path in sorted(source.rglob("*")) if path.is_file()]
        written = [
            self.copy(path, Path(name) / path.relative_to(source)) for path in inside
        ]
        return any(written)

    def remove_the_rest(self) -> int:
        """Remove every file that was not put; return how many there were."""
        removed = 0
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path not in self.wanted:
                path.unlink()
                removed += 1
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        return removed


def assemble(*, stored: bool) -> None:
    """Bring `_build/source` to the state of the checkout.

    Args:
        stored: Show the notebooks with the outputs in git, not with those of
            our own execution.
    """
    tree = Tree(SOURCE)
    tree.copy(CONFIG, CONFIG.name)
    new_contents = tree.copy(TOC, TOC.name)
    tree.copy(STATIC, STATIC.name)
    tree.put(FAVICON, favicon().encode())
    put_mathjax(tree)
    for path in sorted(BOOK.rglob("*")):
        if path.is_file() and path.suffix not in (".ipynb", ".parquet"):
            tree.put(path.relative_to(ROOT), path.read_bytes())
    shown = {}
    for path in discover():
        name = path.relative_to(ROOT)
        shown[name] = notebooks.read(path) if stored else notebooks.executed(name)
        tree.put(name, (nbformat.writes(shown[name]) + "\n").encode())
    for name, text in pages.generate(shown).items():
        tree.put(name, text.encode())
    if tree.remove_the_rest() or new_contents:
        drop_doctrees()


def favicon() -> str:
    """The site's icon: a loss that falls and a gradient that levels off."""
    falling, level = style.CURVES[0].light, style.CURVES[1].light
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        '<g fill="none" stroke-width="4" stroke-linecap="round">'
        f'<path stroke="{falling}" d="M4 4C7 20 14 27 28 28"/>'
        f'<path stroke="{level}" stroke-dasharray="6 6" d="M8 4H28"/></g></svg>'
    )


def put_mathjax(tree: Tree) -> None:
    """Copy MathJax out of the Python package that carries it."""
    package = importlib.metadata.distribution("sphinx-mathjax-offline")
    origin = Path(str(package.locate_file("sphinx-mathjax-offline/static/mathjax")))
    target = Path(STATIC.name) / "vendor/mathjax"
    for part in MATHJAX:
        tree.copy(origin / part, target / part)
    tree.put(target / "NOTICE", MATHJAX_NOTICE.encode())


# --- Jupyter Book --------------------------------------------------------------


def drop_doctrees() -> None:
    """Make the next build read and write every page, and so repeat every warning."""
    shutil.rmtree(DOCTREES, ignore_errors=True)


def run_jupyter_book() -> None:
    """Build `_build/html`; a warning is a failure."""
    if not DOCTREES.exists():
        # Pages that nobody writes any more would stay, and the search find them.
        shutil.rmtree(HTML, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("jupyter-book"))]
    command += ["build", str(SOURCE), "--path-output", str(ROOT)]
    command += ["-n", "-W", "--keep-going", "-q"]
    # So that Sphinx finds `tools.sphinx_extension`.
    variables = dict(os.environ, PYTHONPATH=str(ROOT))
    answer = subprocess.run(command, capture_output=True, text=True, env=variables)
    output = answer.stdout + answer.stderr
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / "site.log"
    log.write_text(output)
    if answer.returncode != 0:
        drop_doctrees()
        raise Stopped(f"{readable(output)}\nthe site build failed (whole log: {log})")


def readable(output: str) -> str:
    """The warnings and errors of a failed build, in paths of the checkout."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    lines = plain.replace(f"{SOURCE}/", "").replace(f"{ROOT}/", "").splitlines()
    bad = [line for line in lines if "WARNING" in line or "ERROR" in line]
    return "\n".join(bad or lines[-30:])


def build(*, stored: bool) -> None:
    """Assemble, build and check the site.

    Args:
        stored: Show the stored outputs of the notebooks.
    """
    with step("assembling the sources"):
        assemble(stored=stored)
    with step("building the pages"):
        run_jupyter_book()
    with step("checking links and figures"):
        findings = links.check(HTML)
        if findings:
            raise Stopped("\n".join([*findings, f"{len(findings)} findings"]))


# --- the command ---------------------------------------------------------------


def book(*, stored: bool, force: bool) -> int:
    """Build the whole book; return the exit status."""
    start = time.perf_counter()
    if not stored:
        names = [path.relative_to(ROOT) for path in discover()]
        headline(f"executing {len(names)} notebooks")
        outcomes = execute_changed(names, force=force)
        if print_failures(outcomes):
            return 1
        if not all(outcome.cached for outcome in outcomes):
            drop_doctrees()
    else:
        drop_doctrees()  # a test starts afresh
    headline("building the site")
    build(stored=stored)
    say(f"\nThe book is built ({time.perf_counter() - start:.0f} s). Open")
    say(f"  {HTML / 'index.html'}")
    say("or run `make serve`.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the book as the command line says."""
    made = argparse.ArgumentParser(prog="book", description=__doc__)
    made.add_argument("--stored", action="store_true", help="execute nothing")
    made.add_argument("--force", action="store_true", help="execute every notebook")
    options = made.parse_args(arguments)
    try:
        return book(stored=options.stored, force=options.force)
    except Stopped as stopped:
        say(f"\n{stopped}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
