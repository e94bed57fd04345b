"""The benchmark: what it counts, what it stores, and whether that is still true."""

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import cases, families, measure, store
from benchmarks.__main__ import main
from lossbook.experiment import code_key
from lossbook.losses import CATALOGUE
from tools import pages

LOSS = """
def tilted(logits):
    \"\"\"Says something.\"\"\"
    return logits.sum()  # a comment


def tilted_ref(logits):
    return logits


CARD = 1
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "bench.parquet"
    assert main(["--quick", "--to", str(path)]) == 0
    return path


def test_every_loss_with_examples_is_measured(measured):
    frame = store.read(measured)
    cards = [c for c in CATALOGUE.values() if c.kind in cases.KINDS and not c.opaque]
    names = {f"lossbook {card.key}" for card in cards}
    assert names <= set(frame.subject)
    assert list(frame.columns) == store.COLUMNS
    assert (frame[frame.subject == cases.BASELINE].ratio == 1).all()
    assert not families.missing(frame)
    assert not families.changed(frame)


def test_a_matrix_of_classes_is_kept_small():
    most = {each.name: each.most for each in cases.subjects()}
    assert most["lossbook Sinkhorn"] == cases.MOST["costs"]
    assert most["lossbook focal"] == float("inf")
    chosen = [
        each for each in cases.subjects() if each.name.endswith("ForwardCorrection")
    ]
    logits = cases.Size(4, 101, 1)
    rows = measure.rows_of(logits, [cases.peers()[0], *chosen])
    assert {row["subject"] for row in rows} == {cases.BASELINE, measure.LIMIT}


def test_a_size_can_be_measured_in_a_process_of_its_own():
    rows = measure.apart(measure.rows_named, cases.Size(4, 3, 1), [cases.BASELINE])
    assert {row["subject"] for row in rows} == {cases.BASELINE, measure.LIMIT}


def test_rows_carry_machine_versions_and_key(measured):
    told = store.read(measured).attrs
    assert told["torch"] == torch.__version__
    assert told["key"] == store.shared_key()
    assert all(told.values())


def test_memory_is_counted_exactly():
    def step():
        first = torch.empty(1000)
        torch.empty(3000)
        return first + torch.empty(1000)

    # 1000 and 3000 numbers at once; later only 3 times 1000.
    assert measure.peak_bytes(step) == 4 * 4000


def test_memory_of_numpy_is_counted():
    def step():
        first = np.empty(2**20, np.float32)
        return torch.empty(2**20) + torch.from_numpy(first)

    beyond = measure.peak_bytes(step) - 3 * 4 * 2**20
    assert 0 <= beyond < 2**14  # Python's own objects


def test_the_least_of_interleaved_rounds_counts():
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = measure.least(steps, 4)
    rounds = [calls[i : i + 3] for i in range(0, 15, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    assert all(0 < each < 1 for each in seconds.values())


@pytest.mark.parametrize(("lasting", "rounds"), [(0.0, 3), (13.0, 7), (14.0, 7)])
def test_short_steps_are_taken_more_often(lasting, rounds, monkeypatch):
    """Each of the two steps seems to last one second."""
    clock = iter(range(100))
    monkeypatch.setattr(measure.time, "thread_time", lambda: next(clock))
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "ab"}
    assert measure.least(steps, 2, lasting) == {"a": 1, "b": 1}
    assert len(calls) == 2 * rounds


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Says something", "Says more", True),
        ("a comment", "another", True),
        ("return logits\n", "return -logits\n", True),
        ("CARD = 1", "CARD = 2", True),
        ("logits.sum()", "logits.mean()", False),
    ],
)
def test_the_key_is_that_of_the_timed_code(old, new, same, tmp_path):
    before, after = tmp_path / "a" / "tilted.py", tmp_path / "b" / "tilted.py"
    for path, text in ((before, LOSS), (after, LOSS.replace(old, new))):
        path.parent.mkdir()
        path.write_text(text)
    assert old in LOSS
    assert (code_key([before]) == code_key([after])) is same


def test_the_keys_cover_what_serves_a_loss():
    """A change of any of these must not go unseen."""
    seen = {path.stem for path in store.SHARED}
    assert {"kernels", "ops", "validate", "modes"} <= seen
    for key, used in {
        "supcon": {"_similarities", "_vectors"},
        "HierarchicalCrossEntropy": {"_paths", "trees"},
        "Sinkhorn": {"transport"},
        "arcface": {"_cosines"},
        "focal": {"_focused"},
        "gce": set(),
    }.items():
        module = CATALOGUE[key].fn.__module__
        own = module.rsplit(".")[-1]
        assert {path.stem for path in store.files_of(module)} == {own, *used}


def test_the_key_of_a_case_covers_what_the_case_uses():
    text = families.source(families.hierarchy)
    assert "def _on_tree(" in text
    assert "def _ancestors(" in text
    assert "def supcon(" not in text
    assert len({case.code for case in families.CASES}) == len(families.CASES)


@pytest.mark.parametrize("case", families.CASES, ids=lambda case: case.name)
def test_rivals_give_the_same_numbers(case):
    """The textbook forms here; `make peers` has the other libraries as well."""
    scene = case.make(True)
    rivals = [each for each in scene.rivals if each.loss and each.same]
    assert rivals
    loss = scene.loss()
    gradients = torch.autograd.grad(loss, scene.inputs)
    for each in rivals:
        theirs = each.loss()
        torch.testing.assert_close(
            theirs, loss, rtol=1e-5, atol=1e-6, check_dtype=False
        )
        # A class of another library holds its own class vectors.
        found = torch.autograd.grad(theirs, scene.inputs, allow_unused=True)
        assert found[0] is not None
        for of_ours, of_theirs in zip(gradients, found, strict=True):
            if of_theirs is not None:
                torch.testing.assert_close(of_theirs, of_ours, rtol=1e-3, atol=1e-5)


def test_each_case_has_rows_with_goals(measured):
    frame = store.read(measured)
    for case in families.CASES:
        rows = frame[frame.case == case.name].set_index("subject")
        assert rows.ratio[case.subject] == 1
        rivals = rows.drop(case.subject)
        assert rivals.goal.notna().any()
        there = rivals.milliseconds.notna()
        ours = rows.milliseconds[case.subject]
        expected = ours / rivals.milliseconds[there]
        pd.testing.assert_series_equal(rivals.ratio[there], expected, check_names=False)


def test_a_rival_that_is_not_installed_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(families, "peer", lambda name: None)
    path = tmp_path / "bench.parquet"
    assert main(["--quick", "--only", "SupCon", "--to", str(path)]) == 0
    told = capsys.readouterr().out
    assert "not installed here, not measured: pytorch_metric_learning SupCon" in told
    assert "textbook, all pairs at once" in told
    assert "not stored: a part can only join rows" in told
    assert not path.exists()


def test_a_word_that_names_nothing_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["--quick", "--only", "nothing", "--to", str(tmp_path / "b.parquet")])
    assert "no loss has nothing in its name" in capsys.readouterr().err


def test_a_part_joins_the_rows_of_the_same_code_only(measured, tmp_path, capsys):
    before = store.read(measured)
    assert main(["--quick", "--only", "focal", "--to", str(measured)]) == 0
    after = store.read(measured)
    assert list(after.subject) == list(before.subject)
    untouched = before.subject == "lossbook mae"
    pd.testing.assert_frame_equal(after[untouched], before[untouched])
    assert main(["--quick", "--only", "InfoNCE", "--to", str(measured)]) == 0
    assert list(store.read(measured).subject) == list(before.subject)
    after.attrs["key"] = "other"
    after.to_parquet(tmp_path / "other.parquet")
    for name in ("other", "none"):
        with pytest.raises(ValueError, match="run `make bench`"):
            store.others([], tmp_path / f"{name}.parquet")


def test_a_quick_run_is_never_kept(capsys):
    with pytest.raises(SystemExit):
        main(["--quick"])
    assert "no measurement to keep" in capsys.readouterr().err


def test_the_page_shows_ratios_and_their_code(measured):
    text = pages.speed_page(store.read(measured))
    assert "`lossbook focal`" in text
    assert "* - `torch cross_entropy`\n  - 1.00\n" in text
    for case in families.CASES:
        assert f"* - {case.name}, in units of {case.unit}\n" in text
    assert store.shared_key() in text
    assert "`make bench` renews" not in text
    assert "Changed since" not in text


def test_the_page_says_what_is_stale(measured):
    frame = store.read(measured)
    frame.attrs["key"] = "other"
    frame = frame[frame.subject != "lossbook mae"]
    frame.loc[frame.subject == "lossbook focal", "code"] = "other"
    text = pages.speed_page(frame)
    assert "`make bench` renews" in text
    assert "Changed since: `lossbook focal`." in text
    assert "Not measured yet: `lossbook mae`." in text


def test_the_page_is_there_without_rows():
    assert "`make bench` measures" in pages.speed_page(None)


def test_the_stored_rows_are_those_of_this_code():
    """Fails when a kernel or a measured loss has changed: run `make bench`."""
    frame = store.read()
    if frame is None:  # then the page shows no number, and says so
        assert "`make bench` measures" in pages.speed_page(frame)
        return
    key = frame.attrs["key"]
    assert key == store.shared_key(), "the kernels have changed: run `make bench`"
    changed = families.changed(frame)
    assert not changed, (
        f"{', '.join(changed)} changed: run `make bench`, or for these alone "
        "`make bench BENCH='--only NAME'`"
    )
