"""The benchmark of sweeps: the ways train the same networks, and say what was timed."""

import pandas as pd
import pytest

from benchmarks import store, training
from benchmarks.__main__ import main
from lossbook.experiment import Config, run
from tools import pages


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "training.parquet"
    assert main(["--only", "lockstep", "--quick", "--to", str(path)]) == 0
    return pd.read_parquet(path)


@pytest.mark.parametrize("loss", training.LOSSES)
def test_a_network_by_hand_is_as_one_in_lockstep(loss):
    config = Config(loss=loss, epochs=2, noise="symmetric", noise_rate=0.2, seed=3)
    assert training.alone(config) == pytest.approx(run(config)["accuracy"], abs=0.004)


def test_the_table_says_what_was_measured_and_what_was_scaled(stored):
    ways = stored[stored.study == "ways to train the same networks"].set_index("way")
    plan = training.QUICK
    assert (ways.models == len(plan.configs())).all()
    assert ways.measured[training.PLAIN] == plan.sample < ways.models.iloc[0]
    assert ways.measured[training.LOCKSTEP] == len(plan.configs())
    scaled = ways.seconds * ways.models / ways.measured
    pd.testing.assert_series_equal(ways.seconds_for_all, scaled, check_names=False)
    ratio = scaled / scaled[training.PLAIN]
    pd.testing.assert_series_equal(ways.ratio, ratio, check_names=False)


def test_cost_is_told_as_seeds_losses_and_classes_grow(stored):
    for name, column in (("seeds", "models"), ("losses", "losses")):
        assert stored[stored.study == f"as {name} grow"][column].is_monotonic_increasing
    classes = stored[stored.study == "as classes grow"].classes
    assert tuple(classes) == training.QUICK.classes


def test_the_whole_plan_is_300_trainings():
    assert len(training.Plan().configs()) == 300


def test_the_sample_is_spread_over_all():
    configs = training.Plan().configs()
    sample = training.spread(configs, 24)
    assert len(set(sample)) == 24
    assert {c.loss for c in sample} == set(training.LOSSES)
    assert len({c.noise_rate for c in sample}) == 5


def test_networks_that_differ_are_told():
    configs = [Config(seed=0)]
    rows = pd.DataFrame({"accuracy": [0.9]})
    training.agree([0.9], rows, configs, configs)
    with pytest.raises(ValueError, match=r"must be as if alone, .* differ by 0.0500"):
        training.agree([0.95], rows, configs, configs)


def test_a_quick_run_is_not_kept(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "lockstep", "--quick"])
    assert "no measurement to keep" in capsys.readouterr().err


def test_this_benchmark_does_not_age_the_other(monkeypatch):
    """What is timed of losses does not change with how sweeps are timed."""
    files = []
    monkeypatch.setattr(store, "code_key", lambda paths: files.extend(paths) or "")
    store.shared_key()
    names = {path.name for path in files}
    assert "measure.py" in names
    assert "training.py" not in names


def test_the_page_shows_what_was_measured(stored):
    frame = stored.copy()
    frame.attrs = dict(stored.attrs)
    text = "\n".join(pages.sweeps(frame))
    for way in (training.PLAIN, training.LOCKSTEP):
        assert f"* - {way}\n" in text
    assert "Changed since" not in text
    frame.attrs["key"] = "other"
    assert "Changed since" in "\n".join(pages.sweeps(frame))
    assert pages.sweeps(None) == []
