"""The matrix: what is trained, how it is tuned, what is read of it."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lossbook import __main__ as shell
from lossbook import matrix, results, stats
from lossbook.experiment import Config, config_of, resplit, sweep, task_of
from lossbook.losses import CATALOGUE
from lossbook.studies import STUDIES
from tools import matrix_page
from tools.paths import STATIC

TINY = matrix.Plan(
    ["cross_entropy", "gce", "mae", "hinge", "HierarchicalCrossEntropy"],
    ["clean", "symmetric 0.4", "tree, right", "tree, random"],
    seeds=range(3),
    tuning=range(1000, 1002),
    fields={"epochs": 2, "hidden": (4,)},
)


@pytest.fixture(scope="module")
def counted():
    """The rows of a tiny matrix, and how many trainings each sweep was asked for."""
    asked = []

    def run_all(configs):
        asked.append(len(set(configs)))
        return sweep(configs, progress=False)

    return TINY.rows(run_all), asked


@pytest.fixture(scope="module")
def rows(counted):
    return counted[0]


@pytest.fixture
def kept(rows, tmp_path, monkeypatch):
    """The tiny matrix as the stored one."""
    monkeypatch.setattr(results, "CLONE", tmp_path)
    results.write(matrix.STUDY, rows, tmp_path / "matrix.parquet")
    return tmp_path / "matrix.parquet"


# --- what is trained -----------------------------------------------------------


def test_every_loss_is_in_the_matrix_or_has_a_reason():
    inside = set(matrix.losses())
    for card in CATALOGUE.values():
        assert (card.key in inside) is not bool(matrix.reason(card)), card.key
    assert set(CATALOGUE) > inside > {"cross_entropy", "hinge", "arcface", "kl"}
    assert set(matrix.LEFT_OUT) <= set(CATALOGUE)


@pytest.mark.parametrize("key", matrix.losses())
def test_every_loss_of_the_matrix_can_be_trained_and_tuned(key):
    """A step of every setting it may try, in one stack."""
    card = CATALOGUE[key]
    plan = matrix.Plan(
        [key],
        matrix.conditions_of(card)[-1:],
        seeds=[0],
        tuning=[1000],
        fields={"epochs": 1, "hidden": (), "train": 60, "batch_size": 60},
    )
    found = plan.rows(lambda configs: sweep(configs, progress=False))
    assert set(found["status"]) == {"ok"}
    assert len(found) == (1 + matrix.VALUES + 1 if card.params else 1)


def test_every_condition_has_losses_and_a_metric():
    for name, condition in matrix.CONDITIONS.items():
        assert name == condition.name
        assert condition.metric in matrix.METRICS
        under = [
            k for k in matrix.losses() if name in matrix.conditions_of(CATALOGUE[k])
        ]
        assert len(under) > 40


def test_the_test_of_a_condition_fits_its_data():
    """Splits of real data overlap; the share is that of the split before damage."""
    for condition in matrix.CONDITIONS.values():
        plan = matrix.Plan(["cross_entropy"], [condition.name])
        config = plan.config(condition.name, "cross_entropy", {})
        if not resplit(config.data):
            assert condition.test_share is None, condition.name
            continue
        train, test = task_of(Config(data=config.data, train=config.train))
        tested, seen = len(test.labels), len(train.labels)
        assert condition.test_share == tested / (tested + seen), condition.name


def test_the_seeds_of_the_tuning_are_not_those_of_the_report():
    plan = matrix.plan()
    report = {config.seed for _, config in plan.defaults()}
    tuning = {config.seed for _, config in plan.trials()}
    assert len(report) == 10
    assert len(tuning) == 3
    assert not report & tuning


@pytest.mark.parametrize("card", CATALOGUE.values(), ids=CATALOGUE)
def test_settings_lie_in_their_ranges_the_default_first(card):
    values = matrix.values_of(card)
    assert values[0] == {}
    whole = any(param.whole for param in card.params.values())
    assert len(values) == (matrix.VALUES if card.params else 1) or whole
    tried = [tuple((card.defaults() | v).items()) for v in values]
    assert len(set(tried)) == len(tried)
    for setting in values[1:]:
        assert setting.keys() == card.params.keys()
        for name, value in setting.items():
            param = card.params[name]
            assert param.low <= value <= param.high
            assert not (param.open_low and value == param.low)
            assert not (param.open_high and value == param.high)


def test_what_knows_no_tree_is_trained_once_for_both_trees(rows):
    for loss, keys in rows.groupby("loss")["key"]:
        per_tree = [
            set(keys[rows["condition"] == f"tree, {kind}"])
            for kind in ("right", "random")
        ]
        if loss in ("cross_entropy", "gce"):
            assert per_tree[0] == per_tree[1]
        if loss == "HierarchicalCrossEntropy":
            assert not per_tree[0] & per_tree[1]


# --- tuning --------------------------------------------------------------------


def test_the_setting_with_the_best_mean_on_the_tuning_seeds_is_taken(rows):
    tuned = rows[rows["stage"] == "tuned"]
    assert set(tuned["loss"]) == {"gce", "HierarchicalCrossEntropy"}
    for (condition, loss), part in tuned.groupby(["condition", "loss"]):
        trials = rows[
            (rows["condition"] == condition)
            & (rows["loss"] == loss)
            & (rows["stage"] == "tuning")
        ]
        metric = matrix.CONDITIONS[condition].metric
        means = trials.groupby("setting")[metric].mean()
        best = means.max() if matrix.METRICS[metric] else means.min()
        [setting] = part["setting"].unique()
        assert means[setting] == pytest.approx(best, abs=1e-12)
        assert list(part["seed"]) == [0, 1, 2]


def test_a_setting_that_leaves_the_numbers_cannot_win(rows):
    tuning = rows[(rows["stage"] == "tuning") & (rows["condition"] == "clean")].copy()
    settings = matrix.values_of(CATALOGUE["gce"])
    tuning["accuracy"] = np.repeat([0.5, np.nan, 0.4, 0.5, 0.3], 2)
    assert TINY._chosen(tuning) == {("clean", "gce"): settings[0]}
    tuning["accuracy"] = np.repeat([0.5, np.nan, 0.4, 0.6, 0.3], 2)
    assert TINY._chosen(tuning) == {("clean", "gce"): settings[3]}


def test_the_number_of_trainings_is_told_before(counted):
    rows, asked = counted
    study = results.Study(name="tiny", about="", configs=TINY.configs, most=TINY.most)
    known, most = study.trainings()
    assert asked[0] == known
    assert known <= sum(asked) == rows["key"].nunique() <= most


def test_an_interrupted_matrix_goes_on_and_gives_the_same(rows, tmp_path):
    def stops(configs):
        sweep(configs[: len(configs) // 2], store=tmp_path, progress=False)
        raise KeyboardInterrupt

    def goes_on(configs):
        return sweep(configs, store=tmp_path, progress=False)

    with pytest.raises(KeyboardInterrupt):
        TINY.rows(stops)
    assert list(tmp_path.glob("*.parquet"))
    again = TINY.rows(goes_on)
    columns = ["condition", "stage", "key", "accuracy", "distance"]
    pd.testing.assert_frame_equal(again[columns], rows[columns], atol=0.02)


# --- what is measured ----------------------------------------------------------


def test_severity_is_that_of_the_right_tree(rows):
    on_tree = rows[rows["data"] == "gaussian_tree"]
    wrong = 1 - on_tree["accuracy"]
    np.testing.assert_allclose(on_tree["distance"], wrong * on_tree["severity"])
    assert on_tree["severity"].between(1, 3).all()
    assert rows.loc[rows["data"] == "digits", "severity"].isna().all()
    # Told a random tree, the loss is judged by the right one all the same.
    hxe = on_tree[on_tree["loss"] == "HierarchicalCrossEntropy"]
    assert (hxe.groupby("condition")["severity"].mean() < 3).all()


# --- what is read --------------------------------------------------------------


def test_differences_are_paired_and_corrected(rows):
    table = matrix.summary(rows, conditions=["symmetric 0.4"]).set_index("loss")
    part = rows[(rows["condition"] == "symmetric 0.4") & (rows["stage"] == "default")]
    by_seed = part.pivot(index="seed", columns="loss", values="accuracy")
    paired = (by_seed["mae"] - by_seed["cross_entropy"]).to_numpy()
    test = stats.corrected_resampled_t(paired, test_share=597 / 1797)
    mae = table.loc["mae"]
    assert (mae["difference"], mae["low"], mae["p"]) == (test.mean, test.low, test.p)
    assert mae["mean"] == by_seed["mae"].mean()
    others = table.drop("cross_entropy")
    np.testing.assert_array_equal(others["p_holm"], stats.holm(others["p"]))
    assert table.loc["cross_entropy", "difference"] == 0
    assert np.isnan(table.loc["cross_entropy", "p"])


def test_drawn_anew_for_each_seed_the_plain_test_is_right(rows):
    table = matrix.summary(rows, conditions=["tree, right"]).set_index("loss")
    part = rows[(rows["condition"] == "tree, right") & (rows["stage"] == "default")]
    by_seed = part.pivot(index="seed", columns="loss", values="distance")
    paired = (by_seed["mae"] - by_seed["cross_entropy"]).to_numpy()
    assert table.loc["mae", "p"] == stats.paired_t(paired).p


def made_up(losses, metric="accuracy"):
    """Rows of made-up results: (10,) numbers a loss."""
    frames = [
        pd.DataFrame(
            {
                "condition": "clean",
                "stage": "default",
                "loss": loss,
                "seed": range(10),
                metric: values,
                "setting": "",
                "status": np.where(np.isnan(values), "not finite", "ok"),
            }
        )
        for loss, values in losses.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_better_means_better_for_this_metric():
    base = np.linspace(0.5, 0.6, 10)
    noise = 1e-3 * np.sin(np.arange(10))
    losses = {
        "cross_entropy": base,
        "mae": base + 0.1 + noise,
        "gce": base - 0.1 + noise,
        "nce": base + noise - noise.mean(),
    }
    for metric, better in (("accuracy", True), ("ece", False)):
        rows = made_up(losses, metric)
        table = matrix.summary(rows, metric=metric).set_index("loss")["better"]
        assert table["mae"] is better
        assert table["gce"] is not better
        assert table["gce"] is not None
        assert table["nce"] is None


def test_columns_say_in_words_what_the_summary_found():
    noise = 1e-4 * np.sin(np.arange(10))
    base = np.full(10, 0.5)
    rows = made_up({"cross_entropy": base, "focal": 0.75 + noise, "mae": 0.25 + noise})
    found = matrix.columns(["mae", "focal", "cross_entropy"], rows=rows)
    by_loss = dict(zip(found["loss"], zip(*found.values(), strict=True), strict=True))
    assert set(by_loss) == {"`mae`", "`focal`"}
    assert by_loss["`focal`"][2:5] == ("accuracy", "0.500", "+0.250")
    assert by_loss["`mae`"][4] == "\N{MINUS SIGN}0.250"
    assert by_loss["`focal`"][-1] == "better"
    assert by_loss["`mae`"][-1] == "worse"


def test_columns_tell_the_parameters_that_tuning_chose():
    rows = made_up({"cross_entropy": np.full(10, 0.5), "focal": np.full(10, 0.6)})
    chosen = rows[rows["loss"] == "focal"].assign(stage="tuned", setting="gamma=5")
    found = matrix.columns(["focal"], rows=pd.concat([rows, chosen]))
    assert found["loss"] == ["`focal` gamma=5"]


def test_failed_trainings_are_counted_and_have_no_difference():
    base = np.linspace(0.5, 0.6, 10)
    broken = np.where(np.arange(10) < 4, np.nan, base + 0.1)
    lost = np.full(10, np.nan)
    rows = made_up({"cross_entropy": base, "exponential": broken, "unhinged": lost})
    table = matrix.summary(rows).set_index("loss")
    assert table.loc["exponential", ["seeds", "failed"]].tolist() == [6, 4]
    assert table.loc["unhinged", ["seeds", "failed"]].tolist() == [0, 10]
    assert np.isnan(table.loc["unhinged", "p_holm"])


def test_rows_are_read_by_loss_condition_and_stage(kept, rows):
    found = matrix.stored(["gce"], ["clean"], stage="tuned")
    assert len(found) == 3
    assert found.attrs["study"] == "matrix"
    assert len(matrix.stored()) == len(rows)
    assert len(matrix.stored("mae", "clean")) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: matrix.stored(["focl"]), "loss must be in the matrix .*, got 'focl'"),
        (lambda: matrix.stored(None, ["dirty"]), "condition must be in the matrix"),
        (lambda: matrix.summary(stage="best"), 'stage must be "tuned" or "default"'),
        (lambda: matrix.summary(metric="f1"), "metric must be one of accuracy"),
        (lambda: matrix.summary(baseline="mse"), "baseline must be a loss of the"),
    ],
)
def test_what_there_is_not_is_refused(kept, call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_shell_shows_the_stored_rows(kept, capsys):
    assert shell.main(["matrix", "--condition", "tree, right", "--loss", "mae"]) == 0
    shown = capsys.readouterr().out
    assert "tree, right: distance (less is better)" in shown
    assert "mae" in shown
    assert "hinge" not in shown
    assert shell.main(["matrix", "--loss", "focl"]) == 2
    assert "got 'focl'" in capsys.readouterr().err


def test_the_shell_says_what_to_do_where_nothing_is_stored(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(results, "find", lambda name: None)
    assert shell.main(["matrix"]) == 2
    assert 'make results RESULTS="matrix"' in capsys.readouterr().err


def test_a_chapter_finds_the_rows_from_any_folder(tmp_path):
    """Where they are stored; where they are not, the message says what to do."""
    code = "from lossbook import results; print(results.find('matrix'))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(results.PACKAGE.parent)),
    )
    assert answer.stdout.strip() == str(results.find("matrix"))


# --- the page ------------------------------------------------------------------


def test_the_page_shows_every_cell(rows, kept):
    stored = matrix.stored()
    text = matrix_page.results_page(stored)
    assert f"{rows['key'].nunique()} trainings" in text
    for loss in TINY.losses:
        assert f"#lossbook.{loss}" in text
    assert text.count('<table class="lb-sortable">') == len(TINY.conditions)
    assert text.count('<th scope="row">') == len(TINY.cells())
    assert "What did not show" in text
    table = matrix.summary(stored)
    worst = table.loc[table["difference"].abs().idxmax()]
    assert matrix_page.signed(worst["difference"], 4) in text


def test_the_page_is_there_without_rows():
    text = matrix_page.results_page(None)
    assert "`make results` trains all losses" in text
    assert all(name in text for name in matrix.CONDITIONS)


def test_a_condition_tells_how_it_is_trained():
    assert "80 epochs, batches of 128, learning rate 0.01. " in matrix_page.told(
        "clean"
    )
    assert "weight decay 0.01. What decides: distance." in matrix_page.told(
        "tree, right"
    )


def test_the_page_says_what_has_changed_since(rows, kept):
    stored = matrix.stored()
    stored.attrs["code"] = stored.attrs["code"] | {"mae": "other"}
    text = matrix_page.results_page(stored)
    assert "**Changed since these rows were made:** `mae`" in text


# --- what is stored in git -----------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_the_stored_rows_are_those_of_this_code(name):
    """Fails when a loss, the data or the experiment has changed: run `make results`."""
    if results.find(name) is None:  # then the page says so
        assert "`make results`" in matrix_page.results_page(None)
        return
    changed = results.stale(STUDIES[name], results.read(name))
    assert not changed, (
        f'{", ".join(changed)} changed: run `make results RESULTS="{name}"`'
    )


@pytest.mark.parametrize("name", STUDIES)
def test_a_sample_of_the_stored_rows_is_computed_again(name):
    if results.find(name) is None:  # nothing to compare: one fresh row against itself
        row = sweep([Config(data="iris", hidden=(), epochs=3)], progress=False)
        [record] = row.to_dict("records")
        again = STUDIES["matrix"].again(record)
        assert results.apart(record, again, results.WITHIN) == []
        assert config_of(record) == Config(data="iris", hidden=(), epochs=3)
        return
    for row in results.sample(results.read(name)):
        found = results.apart(row, STUDIES[name].again(row), results.WITHIN)
        assert not found, f"{row.get('loss', name)}: {'; '.join(found)}"


@pytest.fixture
def shown(chromium, rows, kept):
    """A table of the page in a browser, with the site's script."""
    stored = matrix.stored()
    html = matrix_page.table(stored, matrix.summary(stored), "clean")
    html = "\n".join(html.splitlines()[1:-1])  # without the fence
    script = (STATIC / "sortable.js").read_text()
    tab = chromium.new_page()
    tab.set_content(f"<html lang=en><title>t</title>{html}</html>")
    tab.plain = tab.locator("tbody tr").all_inner_texts()
    tab.add_script_tag(content=script)
    yield tab
    tab.close()


def column(tab, number):
    """The numbers of a column, top to bottom."""
    cells = tab.locator(f"tbody tr td:nth-child({number})")
    given = [cell.get_attribute("data-value") for cell in cells.all()]
    return [float(each) for each in given if each]


def test_the_script_sorts_by_a_column_and_says_so(shown):
    assert len(shown.plain) == 4  # without the script it is a table all the same
    title = shown.locator("thead th").nth(2)
    button = title.get_by_role("button", name="Difference")
    for order in ("ascending", "descending"):
        button.press("Enter")
        assert title.get_attribute("aria-sort") == order
        values = column(shown, 3)
        assert len(values) == 4
        assert values == sorted(values, reverse=order == "descending")
    loss = shown.locator("thead th").first
    loss.get_by_role("button").click()
    assert title.get_attribute("aria-sort") is None
    assert loss.get_attribute("aria-sort") == "ascending"
    names = shown.locator("tbody tr th").all_inner_texts()
    assert names == sorted(names, key=str.lower)


def test_what_has_no_value_stays_at_the_end(shown):
    """Cross-entropy has no p-value against itself."""
    button = shown.locator("thead th").nth(4).get_by_role("button")
    for _ in range(2):
        button.click()
        assert shown.locator("tbody tr").last.inner_text().startswith("Cross")
