"""What others install: the wheel, Binder's image, the requirement files."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import environment
from tools.paths import ROOT
from tools.repository import address, copies

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, made from a copy: what an older build left would get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "lossbook", source / "lossbook")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    answer = subprocess.run(
        [*command, "--outdir", str(folder), str(source)],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_file_of_the_package(wheel):
    """An editable installation hides a forgotten script or style sheet."""
    suffixes = {".py", ".pyi", ".js", ".css", ".typed"}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lossbook").rglob("*")
        if path.suffix in suffixes or path.name == "py.typed"
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wanted - names == set()
    assert any(name.endswith(".js") for name in names)
    assert not [name for name in names if name.startswith(("tests", "tools", "book"))]


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    """Import it and draw an explorer, with nothing but its dependencies beside it."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import lossbook; print(lossbook.__file__)\n"
        "from lossbook.losses import CATALOGUE\n"
        "print(lossbook.explore.curves(CATALOGUE['focal']).html())"
    )
    paths = [str(tmp_path / "site"), sysconfig.get_paths()["purelib"]]
    # -S leaves out .pth files, and with them the editable installation.
    answer = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)),
    )
    assert answer.returncode == 0, answer.stderr
    place, page = answer.stdout.split("\n", 1)
    assert place.startswith(str(tmp_path))
    assert "<script>" in page
    assert "<style>" in page


@pytest.fixture(scope="session")
def dockerfile():
    """What repo2docker would run for Binder; no Docker is needed for that."""
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(ROOT)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout + answer.stderr


@pytest.mark.parametrize(
    "part", ["binder/requirements.txt", "binder/postBuild", "for python=3.11"]
)
def test_binder_reads_our_files(dockerfile, part):
    assert part in dockerfile


def test_binders_script_can_be_run():
    assert os.access(ROOT / "binder/postBuild", os.X_OK)


def requirements(name):
    """The requirements of a file, by project."""
    lines = (ROOT / name).read_text().splitlines()
    texts = [line for line in lines if line and not line.startswith(("#", "-"))]
    return {canonicalize_name(each.name): each for each in map(Requirement, texts)}


def floor(requirement):
    """The lowest version of a requirement."""
    return re.search(r">=([\d.]+)", str(requirement.specifier))[1]


def test_the_floors_of_the_package_are_those_of_the_book():
    book = requirements("requirements.txt")
    floors = {each.name: each for each in map(Requirement, PROJECT["dependencies"])}
    floors |= requirements("requirements-notebook.txt")
    shared = floors.keys() & book.keys()
    assert floors.keys() - shared <= {"ipython"}
    assert {n: floor(floors[n]) for n in shared} == {n: floor(book[n]) for n in shared}


def test_the_package_sets_no_ceiling():
    """Colab keeps the torch it has."""
    assert not [text for text in PROJECT["dependencies"] if "<" in text or "==" in text]


@pytest.mark.parametrize("name", environment.PEERS)
def test_the_lock_satisfies_the_ranges(name):
    lock = requirements("constraints.txt")
    for project, requirement in requirements(name).items():
        [pinned] = lock[project].specifier
        assert requirement.specifier.contains(pinned.version), project


def test_the_lock_names_no_local_version():
    """`+cpu` exists on one index only."""
    assert "+" not in (ROOT / "constraints.txt").read_text()


def test_every_copy_of_the_repositorys_address_agrees():
    wrong = {f"{path.relative_to(ROOT)}: {found}" for path, found in copies()}
    assert {text for text in wrong if not text.endswith(f": {address()}")} == set()
