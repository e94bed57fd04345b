"""Slips planted in losses: which are planted, and that the checks see them."""

import ast
import importlib
import time
from pathlib import Path

import pytest

from lossbook import check
from tools import mutants, slips
from tools.mutants import Report, Trial
from tools.paths import ROOT
from tools.slips import Slip

TANGENT = "lossbook.losses.margins._tangent"
ZERO_ONE = "lossbook.losses.margins._zero_one"

SLIP = Slip(1, "loss", "a -> b")
NO_CHANGE = compile(f"from {TANGENT} import CARD", "<mutant>", "exec")

FUNCTION = """
def loss(logits, labels, *, gamma=2.0):
    return {}

CARD = LossCard(fn=loss, ref=loss_ref)
"""

CLASS = """
@dataclass(frozen=True)
class Loss:
    transition: Matrix
    tau: float = 1.0

    def __call__(self, logits, labels):
        validate.logits_and_labels(logits, labels)
        if self.tau < 0:
            raise ValueError(f"tau must be 0 or more, got {self.tau + 1}")
        return validate.explain_nan("logits", logits, logits @ self.transition)

def drawn(rng, classes):
    return {"transition": rng.random((classes, classes)) + 1}

CARD = LossCard(fn=Loss, ref=loss_ref, closure=drawn)
"""


def texts(source, *matrices):
    return {slip.text for slip, _ in slips.slips(ast.parse(source), {*matrices})}


@pytest.mark.parametrize(
    ("written", "slip"),
    [
        ("-logits", "-logits -> logits"),
        ("a - b", "a - b -> a + b"),
        ("a - b", "a - b -> b - a"),
        ("a + b", "a + b -> a - b"),
        ("a * b", "a * b -> a"),
        ("a * b", "a * b -> b"),
        ("a / b", "a / b -> a"),
        ("a ** b", "a ** b -> b ** a"),
        ("a @ b", "a @ b -> a @ b.T"),
        ("a.mT", "a.mT -> a"),
        ("a.transpose(0, 1)", "a.transpose(0, 1) -> a"),
        ("logits.sum(-1)", "logits.sum(-1) -> logits.mean(-1)"),
        ("logits.clamp(min=0)", "logits.clamp(min=0) -> logits.clamp(max=0)"),
        ("f(a, b)", "f(a, b) -> f(b, a)"),
        ("logits.gather(-1, labels)", "labels -> labels - 1"),
        ("f(a) * 3", "3 -> 4"),
        ("logits.sum(-1)", "1 -> 2"),
        ("a < b", "a < b -> a >= b"),
        ("f(logits) * logits", "f(logits) -> detached(f(logits))"),
        ('explain_nan("a", a, -b)', "-b -> b"),
        (
            "torch.add(a, b, alpha=c)",
            "torch.add(a, b, alpha=c) -> torch.add(b, a, alpha=c)",
        ),
    ],
)
def test_a_slip_is_planted(written, slip):
    assert f"loss: {slip}" in texts(FUNCTION.format(written))


@pytest.mark.parametrize(
    ("written", "slip"),
    [
        ("labels.shape", "labels -> labels - 1"),
        ("np.clip(a, 0, 1)", "np.clip(a, 0, 1) -> np.clip(0, a, 1)"),
        ("torch.maximum(a, b)", "torch.maximum(a, b) -> torch.maximum(b, a)"),
        ("torch.mul(a, b)", "torch.mul(a, b) -> torch.mul(b, a)"),
        (
            "torch.clamp(a, 0, out=c)",
            "torch.clamp(a, 0, out=c) -> torch.clamp(a, 0, out=c)",
        ),
        ("torch.add(a, b, out=c)", "torch.add(a, b, out=c) -> torch.add(b, a, out=c)"),
        ("gamma * logits", "gamma -> detached(gamma)"),
        ("logits.shape[0] * 2", "logits.shape[0] -> detached(logits.shape[0])"),
        ("f(keepdim=True)", "True -> 2"),
        ("f(logits, 1).detach()", "logits -> detached(logits)"),
        ("check_scores(logits)", "logits -> detached(logits)"),
        ('explain_nan("logits", logits, 0)', "logits -> detached(logits)"),
    ],
)
def test_what_changes_nothing_is_not_planted(written, slip):
    assert f"loss: {slip}" not in texts(FUNCTION.format(written))


def test_a_default_is_changed():
    assert "loss: 2.0 -> 4.0" in texts(FUNCTION.format("logits"))


def test_what_is_detached_follows_from_the_logits():
    source = FUNCTION.format("weight * shift").replace(
        "    return", "    weight = logits.exp()\n    return"
    )
    assert "loss: weight -> detached(weight)" in texts(source)
    assert "loss: shift -> detached(shift)" not in texts(source)


def test_a_loss_of_a_matrix_is_changed_but_not_its_refusals():
    assert texts(CLASS, "transition") == {
        "Loss: 1.0 -> 2.0",
        "Loss.__call__: logits @ self.transition -> logits @ self.transition.T",
        "Loss.__call__: logits @ self.transition -> detached(logits @ self.transition)",
        "Loss.__call__: logits -> detached(logits)",
        "Loss.__call__: self.transition -> self.transition.T",
    }


def test_the_same_slip_at_two_places_has_two_names():
    found = texts(FUNCTION.format("f(-a) + g(-a)"))
    assert {"loss: -a -> a", "loss: -a -> a (2)"} <= found


def test_one_slip_is_planted_at_a_time():
    tree = ast.parse(FUNCTION.format("(a - b) * -c"))
    before = ast.dump(tree)
    for _ in slips.slips(tree, frozenset()):
        pass
    assert ast.dump(tree) == before


def test_every_slip_in_a_sample_is_seen():
    excluded = mutants.exclusions()[mutants.file_of(TANGENT)]
    report = mutants.examine(TANGENT, excluded)
    assert report.killed == report.planted > 20
    assert not report.survivors
    assert mutants.summarize([report]) == 0


@pytest.fixture
def no_tests(monkeypatch):
    """Only the checks judge."""
    monkeypatch.setattr(Trial, "killed_by_tests", lambda self, source: False)


@pytest.mark.usefixtures("no_tests")
def test_without_checks_all_survive(monkeypatch, capsys):
    monkeypatch.setattr(check, "applicable", lambda card: [])
    report = mutants.examine(TANGENT)
    assert report.killed == 0
    assert len(report.survivors) == report.planted > 20
    assert mutants.summarize([report]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{report.planted} planted, 0 killed, {report.planted} survived"


@pytest.mark.parametrize(
    ("module", "forms"),
    [(ZERO_ONE, {"plain"}), ("lossbook.losses.noise._mae", {"plain", "fused"})],
)
def test_both_forms_are_checked_where_there_are_two(module, forms):
    trial = Trial(module, checks=[check.CHECKS["reference"]])
    assert [trial.baseline(run) for run in trial.runs] == [None, None]
    assert {form for (_, form), calls in trial.calls.items() if calls} == forms


@pytest.fixture
def own_tests(tmp_path, monkeypatch):
    """A checkout with one test, of the tangent loss at 0."""
    (tmp_path / "tests/losses").mkdir(parents=True)
    (tmp_path / "tests/losses/test_margins.py").write_text(
        "import torch\n"
        "from lossbook import tangent\n"
        "def test_it():\n"
        "    loss = tangent(torch.zeros(1), torch.ones(1))\n"
        "    assert abs(loss.item() - 1) < 1e-6\n"
    )
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield
    mutants.tester(tmp_path).close()


@pytest.mark.slow
@pytest.mark.usefixtures("own_tests")
@pytest.mark.parametrize(
    ("written", "seen"), [("margin.atan()", False), ("1 + margin.atan()", True)]
)
def test_the_tests_of_a_loss_see_what_no_check_does(written, seen):
    source = Path(importlib.import_module(TANGENT).__file__).read_text()
    assert "margin.atan()" in source
    changed = source.replace("margin.atan()", f"({written})")
    assert Trial(TANGENT, checks=[]).killed_by_tests(changed) is seen


@pytest.mark.slow
@pytest.mark.usefixtures("own_tests")
def test_tests_that_fail_anyway_see_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "file_of", lambda module: module)
    monkeypatch.setattr(check, "applicable", lambda card: [])
    monkeypatch.setattr(Trial, "slips", lambda self: iter([(SLIP, NO_CHANGE)]))
    text = "def test_it(): assert not 'tangent'"
    (tmp_path / "tests/losses/test_margins.py").write_text(text)
    report = mutants.examine(TANGENT)
    assert report.survivors == [SLIP]
    assert report.problems == ["its tests refuse the loss as it is"]


def test_a_module_that_cannot_be_imported_is_seen():
    trial = Trial(TANGENT, checks=[])
    broken = compile("1 / 0", "<mutant>", "exec")
    assert trial.killed_by(broken, "tangent") == "its import"


@pytest.mark.parametrize(
    ("cut", "outcome"), [("scores", None), ("scores.detach()", mutants.NO_SLIP)]
)
def test_a_cut_where_no_graph_is_is_no_slip(cut, outcome):
    source = f"""
from dataclasses import replace
from {TANGENT} import CARD as ORIGINAL

def loss(scores, signs):
    return ORIGINAL.fn(scores, signs) + 0 * detached({cut})

CARD = replace(ORIGINAL, fn=loss)
"""
    trial = Trial(TANGENT, checks=[check.CHECKS["reference"]])
    code = compile(source, "<mutant>", "exec")
    assert trial.killed_by(code, "loss") == outcome


def test_a_mutant_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(mutants, "SLOW", 0.05)
    trial = Trial(TANGENT, checks=[])
    endless = compile("while True: pass", "<mutant>", "exec")
    start = time.perf_counter()
    assert trial.killed_by(endless, "tangent") == "the clock"
    assert time.perf_counter() - start < 30


def test_a_loss_that_fails_as_it_is_is_a_problem(monkeypatch, capsys):
    def refuse(card):
        raise ValueError("so it is")

    always = check.Check(refuse, check.CHECKS["reference"].kinds)
    monkeypatch.setattr(check, "applicable", lambda card: [always])
    report = mutants.examine(TANGENT)
    assert "refuse (fused) refuses the loss: ValueError" in report.line()
    assert mutants.summarize([report]) == 1
    assert "ValueError: so it is" in capsys.readouterr().out


@pytest.mark.usefixtures("no_tests")
def test_an_exclusion_that_fits_nothing_is_a_problem(monkeypatch):
    monkeypatch.setattr(check, "applicable", lambda card: [])
    first = next(iter(Trial(TANGENT).slips()))[0].text
    report = mutants.examine(TANGENT, [first, "tangent: gone -> away"])
    assert report.excluded == 1
    assert report.problems == [
        "mutants.toml excludes what is not planted: tangent: gone -> away"
    ]


def test_a_survivor_fails_the_whole():
    survivor = Report("a.py", 1, 0, [Slip(3, "psi", "-p -> p")])
    assert mutants.summarize([survivor]) == 1
    assert mutants.summarize([Report("a.py", 1, 1)], ["gone.py"]) == 1


def test_the_totals_tell_what_was_left_out(capsys):
    reports = [Report("a.py", 2, 2, excluded=1), Report("b.py", 3, 3, excluded=2)]
    assert mutants.summarize(reports) == 0
    assert capsys.readouterr().out.strip() == (
        "5 planted, 5 killed, 0 survived; 3 not planted, since they change nothing"
    )


def test_every_exclusion_is_of_a_slip_that_is_planted():
    for file, excluded in mutants.exclusions().items():
        module = file.removesuffix(".py").replace("/", ".")
        planted = {slip.text for slip, _ in Trial(module, checks=[]).slips()}
        assert set(excluded) <= planted, file
        assert (ROOT / file).exists()


def test_an_unknown_loss_is_named():
    with pytest.raises(SystemExit, match="no loss and no family is called nothing"):
        mutants.modules_of(["nothing"])


def test_a_family_stands_for_its_losses():
    brier, spherical = (
        f"lossbook.losses.proper._{key}" for key in ("brier", "spherical_score")
    )
    assert mutants.modules_of(["proper"]) == [brier, spherical]
    assert mutants.modules_of(["brier"]) == [brier]
    assert len(mutants.modules_of([])) > 80
