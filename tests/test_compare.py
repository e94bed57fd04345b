"""The A/B test in one call, from Python and from the shell."""

import numpy as np
import pandas as pd
import pytest

from lossbook import compare, data, stats
from lossbook.__main__ import main
from lossbook._compare import METRICS, _tested, settings
from lossbook.experiment import Config, grid, share_tested, sweep

QUICK = {"data": "iris", "epochs": 8, "learning_rate": 0.02, "progress": False}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """GCE against cross-entropy where half of the labels are wrong."""
    return compare(
        baseline="cross_entropy",
        candidate="gce",
        data="digits",
        seeds=6,
        budget=2,
        tuning_seeds=2,
        noise="symmetric",
        noise_rate=0.5,
        epochs=40,
        batch_size=64,
        progress=False,
        store=tmp_path_factory.mktemp("store"),
    )


def test_a_known_effect_is_found(noisy):
    assert noisy.better is True
    assert noisy.verdict.startswith("gce is better than cross_entropy: accuracy +0.")
    assert "6 paired seeds" in noisy.verdict
    assert noisy.wins == 6
    assert noisy.p_wilcoxon == 2 / 2**6


def test_the_report_holds_what_was_done(noisy):
    report = str(noisy)
    assert "trainings, 8 of them for tuning, the same number for either loss" in report
    assert "default parameters; learning rate" in report
    assert all(metric in report for metric in METRICS)
    assert noisy.table().index.tolist() == ["cross_entropy", "gce"]
    assert len(noisy.differences()) == 6


def test_the_pairs_share_their_data(noisy):
    """What does not depend on the loss is the same in both arms, seed by seed."""
    for name in ("seed", "seen", "noise_rate"):
        arms = [part[name].to_list() for _, part in noisy.rows.groupby("loss")]
        assert arms[0] == arms[1]
    assert not set(noisy.tuning["seed"]) & set(noisy.rows["seed"])


def test_the_figure_has_a_line_for_each_seed(noisy):
    import matplotlib.pyplot as plt

    ax = noisy.figure(plt.figure().gca())
    pairs = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert len(pairs) == 6
    assert ax.get_ylabel() == "accuracy"
    plt.close("all")


def test_two_names_of_one_loss_do_not_differ():
    found = compare(
        baseline="cross_entropy", candidate="soft_cross_entropy", seeds=4, **QUICK
    )
    assert found.better is None
    assert found.verdict.startswith("No difference found between soft_cross_entropy")


def test_splits_of_real_data_get_the_corrected_test(noisy):
    """1200 trained and 597 tested: the variance factor is 1/6 + 597/1200."""
    share = 597 / 1797
    assert noisy.test_share == pytest.approx(share)
    wanted = stats.corrected_resampled_t(noisy.differences(), test_share=share)
    assert noisy.result == wanted
    assert noisy.result.high > stats.paired_t(noisy.differences()).high
    assert "6 paired seeds, corrected resampled t-test, p = " in noisy.verdict
    assert "Wilcoxon" not in noisy.verdict
    assert "Every seed splits the same examples of digits anew (33% tested)" in str(
        noisy
    )
    assert noisy.overlap in noisy._repr_markdown_()


@pytest.mark.parametrize("own", [False, True], ids=["drawn", "own arrays"])
def test_only_data_that_is_drawn_anew_gets_students_test(own):
    task = data.moons(90, rng=np.random.default_rng(0))
    source = {"data": task if own else "moons"}
    arms = {"baseline": "cross_entropy", "candidate": "mae", "budget": 1, "seeds": 3}
    found = compare(**QUICK | arms | source)
    test = stats.corrected_resampled_t if own else stats.paired_t
    options = {"test_share": 1 / 3} if own else {}
    assert found.result == test(found.differences(), **options)
    name = "corrected resampled t-test" if own else "Student's paired t-test"
    assert f"3 paired seeds, {name}, p = " in found.verdict
    assert ("Wilcoxon" in found.verdict) == (found.overlap == "") == (not own)


def nearest_mean_errors(inputs, labels, seen):
    """Errors of two classifiers on what was not seen: each knows half the features."""
    errors = []
    for part in (inputs[:, :5], inputs[:, 5:]):
        means = np.stack([part[seen][labels[seen] == c].mean(0) for c in (0, 1)])
        distance = ((part[~seen][:, None] - means) ** 2).sum(-1)
        errors.append((distance.argmin(1) != labels[~seen]).mean())
    return errors


@pytest.mark.parametrize("overlap", [True, False], ids=["resplit", "drawn"])
def test_the_chosen_test_errs_as_rarely_as_it_says(overlap):
    """Two classifiers that are equally good by symmetry, on 300 data sets.

    Student's test finds a difference far too often where one data set is split ten
    times; where each of the ten is drawn anew it is right.
    """
    rng = np.random.default_rng(0)
    student, chosen, sets = 0, 0, 300
    for _ in range(sets):
        differences = []
        for split in range(10):
            if split == 0 or not overlap:
                labels = np.arange(90) % 2
                inputs = rng.normal(size=(90, 10)) + 0.35 * labels[:, None]
            seen = np.isin(np.arange(90), rng.permutation(90)[:60])
            a, b = nearest_mean_errors(inputs, labels, seen)
            differences.append(a - b)
        values = np.array(differences)
        student += stats.paired_t(values).p < 0.05
        chosen += _tested(values, 1 / 3 if overlap else None).p < 0.05
    assert (student / sets > 0.2) == overlap
    assert chosen / sets < 0.09


def test_rows_of_two_kinds_of_data_have_no_test():
    rows = sweep(grid(data=["iris", "moons"], epochs=1), progress=False)
    with pytest.raises(ValueError, match="rows must be of one data set, got iris, moo"):
        share_tested(rows)


def test_equal_differences_are_no_proof():
    """On splits, two accuracies that differ by one example on each of three seeds."""
    found = compare(
        baseline="cross_entropy", candidate="soft_cross_entropy", seeds=3, **QUICK
    )
    assert found.better is None
    assert found.verdict.endswith("All differences are equal: take more seeds.")


def test_a_missed_difference_is_sized():
    found = compare(baseline="cross_entropy", candidate="poly1", seeds=4, **QUICK)
    if found.better is None:
        assert "would be found four times in five" in found.verdict
    else:
        assert "poly1 is " in found.verdict


def test_every_loss_tries_the_same_rates():
    rates = [
        sorted(c.learning_rate for c in settings(Config(loss=loss), 5))
        for loss in ("cross_entropy", "focal", "gce")
    ]
    assert rates[0] == rates[1] == rates[2]
    assert rates[0][-1] == pytest.approx(100 * rates[0][0], rel=1e-2)


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5, 8])
def test_the_budget_is_kept_and_nothing_is_tried_twice(budget):
    for loss in ("cross_entropy", "focal"):
        tried = settings(Config(loss=loss), budget)
        assert len(tried) == len(set(tried)) == budget
        assert tried[0] == Config(loss=loss)


def test_an_edge_is_told():
    found = compare(
        baseline="cross_entropy",
        candidate="mae",
        seeds=2,
        budget=3,
        metric="nll",
        **QUICK | {"learning_rate": 1e-6},
    )
    assert "the edge of what was tried" in found.settings["cross_entropy"]


REFUSED = [
    ({"metric": "speed"}, "metric must be one of accuracy, .*, got 'speed'"),
    ({"candidate": "cross_entropy"}, "baseline and candidate must differ"),
    ({"seeds": 1}, "seeds must be at least 2, got 1"),
    ({"budget": 0}, "budget must be at least 1, got 0"),
    ({"data": "nowhere"}, "data must be one of breast_cancer"),
    (
        {"learning_rate": 1e38, "optimizer": "sgd"},
        "pairs of trainings must stay finite",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_a_test_that_cannot_be_run_is_refused(options, message):
    arms = {"baseline": "cross_entropy", "candidate": "mae", "budget": 1}
    with pytest.raises(ValueError, match=message):
        compare(**QUICK | arms | options)


# --- tables of the reader's own ------------------------------------------------


def written(path, text):
    path.write_text(text)
    return path


def moons_csv(path):
    task = data.moons(120, rng=np.random.default_rng(0))
    names = np.where(task.labels == 1, "moon", "sun")
    frame = pd.DataFrame(task.inputs, columns=["east", "north"]).assign(kind=names)
    frame.to_csv(path, index=False)
    return path


def test_a_table_is_read(tmp_path):
    task, names = data.read_csv(moons_csv(tmp_path / "moons.csv"), label="kind")
    assert names == ["moon", "sun"]
    own = data.moons(120, rng=np.random.default_rng(0)).inputs
    np.testing.assert_allclose(task.inputs, own, rtol=1e-12)  # as in the file
    assert np.bincount(task.labels).tolist() == [60, 60]


GOOD = "a,b,y\n" + "1,2,no\n2,3,no\n3,1,no\n4,4,yes\n5,5,yes\n"
BAD_TABLES = [
    ("", "y", r"must hold a table, and is empty"),
    ("a,y\n", "y", r"got 0 rows and 1 features"),
    ("y\nno\nyes\n", "y", r"got 2 rows and 0 features"),
    (GOOD + "x,6,yes\n", "y", r"line 7: 'a' must be a finite number, got 'x'"),
    ("\n" + GOOD + "\nx,6,yes\n", "y", r"line 9: 'a' must be a finite number, got 'x'"),
    (GOOD + "\n\n1,2,\n", "y", r"line 9: the label 'y' is missing"),
    (GOOD + "1_0,6,yes\n", "y", r"line 7: 'a' must be a finite number, got '1_0'"),
    (GOOD + "1, ,yes\n", "y", r"line 7: 'b' must be a finite number, got nothing"),
    (GOOD + "1,inf,yes\n", "y", r"line 7: 'b' must be a finite number, got 'inf'"),
    (GOOD + "1,2,\n", "y", r"line 7: the label 'y' is missing"),
    (GOOD, "Y", r"label must be a column of .*, got 'Y'; its columns are 'a', 'b'"),
    (GOOD, "y", r"at least 3 examples each, got no: 3, yes: 2"),
    ("a,y\n1,2,3,4\n", "y", r"must hold a table: Length of header"),
]


@pytest.mark.parametrize(
    ("text", "label", "message"), BAD_TABLES, ids=[m for *_, m in BAD_TABLES]
)
def test_a_bad_table_is_explained(tmp_path, text, label, message):
    path = written(tmp_path / "bad.csv", text)
    with pytest.raises(ValueError, match=message):
        data.read_csv(path, label=label)


def test_no_table_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a file, and there is none"):
        data.read_csv(tmp_path / "none.csv")


# --- the shell -----------------------------------------------------------------


def test_the_shell_compares_a_table(tmp_path, capsys):
    path = moons_csv(tmp_path / "moons.csv")
    command = ["compare", "mae", "cross_entropy", "--csv", str(path)]
    command += ["--label", "kind", "--seeds", "3", "--budget", "1", "--epochs", "3"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "120 rows, classes moon, sun" in told
    assert "3 paired seeds" in told


def test_the_shell_lists_and_shows(capsys):
    assert main(["list"]) == 0
    assert "  focal " in capsys.readouterr().out
    assert main(["show", "gce"]) == 0
    told = capsys.readouterr().out
    assert "q = 0.7, in (0, 1]" in told
    assert "0.5 times mae" in told


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["show", "gcee"], "got 'gcee'; did you mean 'gce'?"),
        (["compare", "mae", "hinj"], "the loss must be one of the catalogue"),
        (["compare", "mae", "focal", "--csv", "none.csv"], "there is none"),
    ],
)
def test_the_shell_explains_itself(command, message, capsys):
    assert main(command) == 2
    assert message in capsys.readouterr().err
