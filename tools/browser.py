"""A Chromium for the browser tests: one that is installed, else install one."""

import os
import shutil
import subprocess

from tools.console import say
from tools.paths import venv_program

VARIABLE = "LOSSBOOK_CHROMIUM"  # names a browser to use
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of an installed Chromium or Chrome, playwright's own included."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    return playwrights_own()


def playwrights_own() -> str | None:
    """The path of the browser that playwright downloaded, if it did."""
    code = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as p: print(p.chromium.executable_path)"
    )
    command = [str(venv_program("python")), "-c", code]
    path = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return path if path and os.path.exists(path) else None


def find_or_install() -> str | None:
    """The path of a browser; None if none could be had (the tests then fail)."""
    return find() or install()


def install() -> str | None:
    """Install a Chromium: Debian's package as root, else playwright's own."""
    say("   no Chromium found: installing one")
    for command in installers():
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            say(f"   `{' '.join(command)}` failed:\n{answer.stderr.strip()[-500:]}")
        found = find()
        if found:
            say(f"   {found}")
            return found
    return None


def installers() -> list[list[str]]:
    """The commands to try, in order."""
    commands = []
    if shutil.which("apt-get") and getattr(os, "geteuid", lambda: 1)() == 0:
        commands.append(["apt-get", "update"])
        commands.append(
            ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
        )
    commands.append([str(venv_program("playwright")), "install", "chromium"])
    return commands
