"""The virtual environment: when it is kept, what is said before a big download."""

import sys

import pytest

from tools import environment
from tools.console import Stopped


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A root with requirement files, and a record of what would be installed."""
    files = [*environment.PEERS, *environment.PACKAGE, "constraints.txt"]
    for name in files:
        (tmp_path / name).write_text(name)
    venv = tmp_path / ".venv"
    calls = []

    def create(at=venv):
        calls.append("create")
        (at / "bin").mkdir(parents=True)
        (at / "bin/python").symlink_to(sys.executable)

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", venv)
    monkeypatch.setattr(
        environment, "venv_program", lambda name, at=venv: at / "bin" / name
    )
    monkeypatch.setattr(environment, "create", create)
    monkeypatch.setattr(environment, "install", lambda names: calls.append(names))
    return tmp_path, calls


def test_a_second_run_installs_nothing(installed):
    _, calls = installed
    environment.ensure()
    assert calls == ["create", environment.READER]
    environment.ensure()
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt"])
def test_a_changed_file_installs_again_into_the_same_environment(installed, name):
    root, calls = installed
    environment.ensure()
    (root / name).write_text("changed")
    environment.ensure()
    assert calls == ["create", environment.READER, environment.READER]


def test_the_tests_need_more_and_the_book_then_needs_nothing(installed):
    _, calls = installed
    environment.ensure()
    environment.ensure(environment.DEVELOPER)
    environment.ensure()
    assert calls == ["create", environment.READER, environment.DEVELOPER]


def test_other_libraries_are_set_up_beside_all_else(installed):
    _, calls = installed
    environment.ensure(environment.PEERS)
    environment.ensure(environment.DEVELOPER)
    environment.ensure()
    assert calls == ["create", environment.PEERS]


def test_an_interrupted_installation_is_done_again(installed, monkeypatch):
    root, calls = installed
    environment.ensure()
    (root / "constraints.txt").write_text("changed")

    def interrupted(names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            environment.ensure()
    environment.ensure()
    assert calls[-1] == environment.READER
    assert len(calls) == 3


def test_another_python_makes_the_environment_anew(installed, monkeypatch):
    _, calls = installed
    environment.ensure()
    monkeypatch.setattr(environment.platform, "python_version", lambda: "3.99.0")
    monkeypatch.setattr(environment, "create", lambda: calls.append("create"))
    environment.ensure()
    assert calls.count("create") == 2


def test_a_failed_venv_says_what_to_install():
    message = environment.venv_failure("ensurepip is not available")
    assert "ensurepip is not available" in message
    assert "-venv" in message


def test_a_failed_pip_shows_the_end_of_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "venv_program", lambda name, venv: sys.executable)
    with pytest.raises(Stopped, match="pip failed"):
        environment.pip(["--no-such-option"], "nothing", tmp_path)


def test_a_local_cpu_wheel_of_torch_is_found(tmp_path):
    config = f"global.find-links='{tmp_path}'"
    assert not environment.cpu_torch_at_hand(config, {})
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert environment.cpu_torch_at_hand(config, {})
    assert environment.cpu_torch_at_hand("", {"PIP_FIND_LINKS": str(tmp_path)})


def test_a_configured_cpu_index_is_found():
    index = "https://download.pytorch.org/whl/cpu"
    assert environment.cpu_torch_at_hand(f"global.extra-index-url='{index}/'", {})
    assert environment.cpu_torch_at_hand("", {"PIP_INDEX_URL": index})
    assert not environment.cpu_torch_at_hand("global.index-url='https://a/b'", {})


@pytest.fixture
def linux_without_torch(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.sys, "platform", "linux")
    monkeypatch.setattr(environment, "venv_program", lambda name, venv: sys.executable)
    return tmp_path


def test_the_size_of_torch_is_announced(linux_without_torch, monkeypatch, capsys):
    monkeypatch.setattr(environment, "cpu_torch_at_hand", lambda *_: False)
    environment.announce_torch(linux_without_torch)
    printed = capsys.readouterr().out
    assert "3 GB" in printed
    assert "TORCH_INDEX=" in printed


def test_nothing_is_announced_where_a_cpu_build_is_at_hand(
    linux_without_torch, monkeypatch, capsys
):
    monkeypatch.setattr(environment, "cpu_torch_at_hand", lambda *_: True)
    environment.announce_torch(linux_without_torch)
    assert capsys.readouterr().out == ""


def test_torch_comes_first_from_the_index_that_was_named(monkeypatch):
    asked = []
    monkeypatch.setenv("TORCH_INDEX", "https://example.org/cpu")
    monkeypatch.setattr(
        environment, "pip", lambda args, title, venv: asked.append(args)
    )
    environment.install(environment.READER)
    assert asked[0][0] == "torch"
    assert "https://example.org/cpu" in asked[0]
    assert len(asked) == 3


def test_progress_tells_what_pip_does(tmp_path):
    log = tmp_path / "log"
    log.write_text("Collecting torch\nWARNING: ignored\n  Attempting uninstall: a\n")
    assert environment.doing_now(log) == "Collecting torch"
    log.write_text("")
    assert environment.doing_now(log) == "starting"
