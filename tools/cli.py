"""The verbs of the command line. Only the standard library is needed here."""

import argparse
import functools
import http.server
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from tools import browser, environment, lock, repository, testing
from tools.console import Stopped, say
from tools.paths import BUILD, HTML, ROOT, venv_program

EPILOG = """\
The commands make their own virtual environment in .venv. Environment variables:
  TORCH_INDEX  a package index to take torch from, for instance
               https://download.pytorch.org/whl/cpu (0.2 GB instead of 3 GB)
"""
LEFT_BY_TOOLS = (".mypy_cache", ".pytest_cache", ".ruff_cache", "build", "dist")


def in_venv(module: str, arguments: Sequence[str] = ()) -> int:
    """Run one of our modules with the virtual environment's Python."""
    command = [str(venv_program("python")), "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT).returncode


def book(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Execute what changed, build the site, check it."""
    environment.ensure()
    return in_venv("tools.site", rest)


def notebooks(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Execute notebooks and store their outputs."""
    environment.ensure()
    return in_venv("tools.notebooks", rest)


def check(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Lint, format, types, spelling, form of the notebooks."""
    environment.ensure(environment.DEVELOPER)
    return testing.run(testing.CHECKS)


def test(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Everything that must hold; sets up what it needs."""
    environment.ensure(environment.PEERS)
    chromium = browser.find_or_install()
    if chromium:
        os.environ[browser.VARIABLE] = chromium
    return testing.run(testing.STAGES)


def bench(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Measure speed and memory of every loss; some minutes on a quiet machine."""
    environment.ensure()
    return in_venv("benchmarks", rest)


def results(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Compute the stored studies, the matrix of losses among them; some minutes."""
    environment.ensure()
    return in_venv("tools.results", rest)


def peers(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Compare with other libraries; sets them up."""
    environment.ensure(environment.PEERS)
    return testing.run([testing.PEERS])


def mutants(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Plant slips in the losses, one at a time; the checks must see each."""
    environment.ensure(environment.DEVELOPER)
    return in_venv("tools.mutants", rest)


def scale(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """How a sweep runs on a cluster, shown on a small one of this machine."""
    environment.ensure(environment.DEVELOPER)
    return in_venv("tools.scale", rest)


def serve(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Serve the built site on this machine; build it first if it is missing."""
    if not (HTML / "index.html").exists() and book(options, []) != 0:
        return 1
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(HTML)
    )
    port = int(rest[0]) if rest else 8000
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        say(f"Serving the book on http://localhost:{port}/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
    return 0


def clean(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Remove everything built; .venv stays."""
    for folder in [BUILD, *(ROOT / name for name in LEFT_BY_TOOLS)]:
        shutil.rmtree(folder, ignore_errors=True)
    say("Removed what was built. The virtual environment in .venv stays.")
    return 0


def relock(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Write constraints.txt anew from a fresh environment."""
    return lock.main(rest)


def set_repository(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Write the repository's address, given as an argument, into every copy."""
    return repository.main(rest)


VERBS = {
    "book": book,
    "serve": serve,
    "notebooks": notebooks,
    "test": test,
    "check": check,
    "bench": bench,
    "results": results,
    "peers": peers,
    "mutants": mutants,
    "scale": scale,
    "lock": relock,
    "repository": set_repository,
    "clean": clean,
}


def parser() -> argparse.ArgumentParser:
    """The command line: a verb and what follows it."""
    made = argparse.ArgumentParser(
        prog="make" if os.environ.get("MAKELEVEL") else "python -m tools",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, action in VERBS.items():
        verb = verbs.add_parser(name, help=action.__doc__, add_help=False)
        verb.set_defaults(action=action)
    verbs.add_parser("help", help="Print this.", add_help=False)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit status."""
    made = parser()
    options, rest = made.parse_known_args(arguments)
    if options.verb == "help":
        made.print_help()
        return 0
    try:
        return int(options.action(options, rest))
    except Stopped as stopped:
        print(f"\n{stopped}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
