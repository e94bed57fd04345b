"""Configs, grids and sweeps: nothing lost, nothing doubled, the seed decides."""

import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from dask.distributed import Client, LocalCluster

import lossbook
from lossbook import data, experiment
from lossbook.experiment import Config, grid, run, run_stack, sweep, task_of
from lossbook.experiment import _code as code
from lossbook.experiment import _sweep as module

SMALL = {"data": "iris", "hidden": (), "epochs": 4}
NOT_MEASURED = ["seconds"]


def table(configs, **options):
    return sweep(configs, progress=False, **options).drop(columns=NOT_MEASURED)


def test_a_grid_has_every_combination():
    configs = grid(
        loss=["focal", "mae"],
        noise="pair",
        noise_rate=[0.0, 0.4],
        seed=range(3),
        epochs=7,
    )
    assert len(configs) == len(set(configs)) == 12
    assert {c.epochs for c in configs} == {7}
    assert [c.seed for c in configs[:3]] == [0, 1, 2]


def test_params_may_be_a_mapping_and_become_columns():
    config = Config(loss="focal", params={"gamma": 3})
    assert config == Config(loss="focal", params=(("gamma", 3.0),))
    assert config.row()["param_gamma"] == 3.0
    assert config.row()["setting"] == "gamma=3"
    grouped = grid(loss="focal", params=[{"gamma": 0.5}, {"gamma": 1}])
    assert len({c.group() for c in grouped}) == 1


def test_a_key_depends_on_everything_and_on_nothing_else():
    config = Config(seed=1)
    assert config.key() == Config(seed=1).key()
    others = [Config(seed=2), Config(seed=1, epochs=3), Config(seed=1, loss="mae")]
    assert len({c.key() for c in [config, *others]}) == 4
    assert config.key("new code") != config.key()


def test_a_number_has_one_key_however_it_is_spelled():
    plain = Config(seed=1, epochs=3, imbalance=2.0, hidden=(4,))
    numpy = Config(seed=np.int64(1), epochs=3.0, imbalance=2, hidden=(np.int32(4),))
    assert numpy == plain
    assert numpy.key() == plain.key()
    assert [c.seed for c in grid(seed=np.arange(2))] == [0, 1]


REFUSED = [
    ({"loss": "focl"}, r"loss must be a key .*, got 'focl'; did you mean 'focal'\?"),
    (
        {"loss": "mae", "params": {"q": 1}},
        "params must be parameters of mae, which has none, got q",
    ),
    ({"noise": "white"}, "noise must be one of none, symmetric, pair, instance, got"),
    ({"optimizer": "lbfgs"}, "optimizer must be one of adam, adamw, sgd, got 'lbfgs'"),
    ({"noise_rate": 1.2}, "noise_rate must lie between 0 and 1, got 1.2"),
    (
        {"noise_rate": 0.4},
        'noise_rate must be 0 without noise, got 0.4; choose noise="symmetric", ',
    ),
    ({"imbalance": 0.1}, "imbalance must be at least 1, got 0.1"),
    ({"tree": "wrong"}, "tree must be one of right, random, got 'wrong'"),
    ({"weighting": "both"}, "weighting must be one of none, inverse, effective, got"),
    ({"profile": "flat"}, "profile must be one of exponential, step, got 'flat'"),
    ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
    ({"standardize": "no"}, "standardize must be True or False, got 'no'"),
    ({"epochs": 0}, "epochs must be at least 1, got 0"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_a_config_that_cannot_run_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"data must be one of breast_cancer, .*'no'"):
        run(Config(data="no"))


def test_losses_meet_the_same_data():
    for field in ({"noise": "symmetric", "noise_rate": 0.4}, {"imbalance": 10}):
        a, b = (task_of(Config(loss=k, **field))[0] for k in ("mae", "cross_entropy"))
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_only_the_training_part_is_damaged():
    config = Config(noise="pair", noise_rate=0.3, imbalance=5, outliers=0.1)
    train, test = task_of(config)
    _, clean = task_of(Config())
    np.testing.assert_array_equal(test.labels, clean.labels)
    counts = np.sort(np.bincount(train.clean))
    assert counts[-1] >= 4 * counts[0]
    assert 0.2 < (train.labels != train.clean).mean() < 0.45


@pytest.mark.parametrize("name", experiment.TASKS)
def test_every_task_can_be_drawn(name):
    train, test = task_of(Config(data=name, seed=3))
    assert set(np.unique(test.labels)) <= set(np.unique(train.labels))
    assert len(train.labels) > 50


def test_the_number_of_training_examples_is_that_of_all_classes():
    for name in set(experiment.TASKS) - {"breast_cancer"}:
        train, _ = task_of(Config(data=name, train=81))
        assert len(train.labels) == 81


@pytest.mark.parametrize("train", [90, 200, -1])
def test_a_part_without_examples_is_refused(train):
    own = data.moons(90, rng=np.random.default_rng(0))
    with pytest.raises(
        ValueError, match="train must leave both parts an example, 1 to"
    ):
        task_of(Config(data="own", train=train), {"own": own})


def test_a_number_of_examples_that_cannot_be_had_is_refused():
    message = "train must be 0 for breast_cancer, which is cut in halves, got 100"
    with pytest.raises(ValueError, match=message):
        task_of(Config(data="breast_cancer", train=100))
    for part in task_of(Config(data="breast_cancer")):
        benign, malignant = np.bincount(part.labels)
        assert malignant == benign // 2


def test_a_stack_is_as_one_by_one():
    """Noise rate, seed and the loss's parameter vary; float64 agrees to round-off."""
    configs = [
        Config(
            **SMALL,
            loss="gce",
            params={"q": q},
            noise="symmetric",
            noise_rate=r,
            seed=s,
        )
        for q, r, s in [(0.3, 0.0, 0), (0.7, 0.4, 1), (1.0, 0.2, 5)]
    ]
    together = run_stack(configs, dtype=torch.float64)
    for config, row in zip(configs, together, strict=True):
        alone = run(config, dtype=torch.float64)
        for name in ("nll", "brier", "accuracy", "ece", "fit_clean"):
            assert row[name] == pytest.approx(alone[name], abs=1e-9)


@pytest.mark.parametrize("batch_size", [3, 40])
def test_questions_of_a_stack_know_their_model(batch_size):
    """Three models and batches of three: an axis of models is none of examples."""
    configs = [
        Config(**SMALL, loss="binary_focal", params={"gamma": g}, batch_size=batch_size)
        for g in (0.0, 1.0, 4.0)
    ]
    together = run_stack(configs, dtype=torch.float64)
    alone = [run(config, dtype=torch.float64) for config in configs]
    assert len({row["nll"] for row in together}) == 3
    for name in ("nll", "brier"):
        found, wanted = ([row[name] for row in rows] for rows in (together, alone))
        np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("loss", ["ForwardCorrection", "BackwardCorrection"])
def test_a_correction_knows_noise_that_depends_on_the_input(loss, monkeypatch):
    """Each model of a stack gets the matrix of its own labels, which is asymmetric."""
    given, made = [], getattr(lossbook, loss)
    before = made.__post_init__

    def noted(self):
        given.append(np.array(self.transition))
        before(self)

    monkeypatch.setattr(made, "__post_init__", noted)
    options = {"data": "ordinal", "loss": loss, "epochs": 1, "noise": "instance"}
    configs = grid(**options, noise_rate=[0.3], seed=range(2))
    run_stack(configs)
    for config, matrix in zip(configs, given, strict=True):
        train, _ = task_of(config)
        pairs = zip(train.clean, train.labels, strict=True)
        counts = np.zeros((5, 5))
        for true, label in pairs:
            counts[true, label] += 1
        np.testing.assert_allclose(matrix, counts / counts.sum(1, keepdims=True))
        assert abs(matrix - matrix.T).max() > 0.02
        assert abs(matrix - data.symmetric_noise(5, 0.3)).max() > 0.1


def test_seeds_may_draw_parts_of_several_sizes():
    """The classes of `ordinal` are drawn, so their long tails differ in length."""
    configs = grid(data="ordinal", imbalance=5.0, epochs=2, seed=range(4))
    rows = run_stack(configs, dtype=torch.float64)
    assert len({row["seen"] for row in rows}) > 1
    assert [row["seed"] for row in rows] == [0, 1, 2, 3]
    alone = [run(config, dtype=torch.float64) for config in configs]
    found, wanted = ([row["nll"] for row in each] for each in (rows, alone))
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_a_stack_of_two_groups_is_refused():
    with pytest.raises(ValueError, match="got 2 groups; use sweep"):
        run_stack([Config(**SMALL), Config(**SMALL, loss="mae")])


def test_it_learns_and_says_so():
    row = run(Config(data="digits", epochs=15))
    assert row["accuracy"] > 0.9
    assert row["balanced_error"] < 0.1
    assert row["status"] == "ok"
    assert row["torch"] == torch.__version__
    assert np.isnan(row["fit_flipped"])


def test_noise_shows_in_what_is_learned():
    config = Config(
        train=300,
        hidden=(128,),
        noise="symmetric",
        noise_rate=0.4,
        epochs=60,
        batch_size=32,
        learning_rate=5e-3,
    )
    row = run(config)
    assert row["fit_flipped"] > 0.3
    assert row["fit_clean"] > row["fit_flipped"]


def test_a_run_that_leaves_the_numbers_says_so():
    row = run(Config(**SMALL, optimizer="sgd", learning_rate=1e38))
    assert row["status"].startswith("not finite from step ")
    assert np.isnan(row["accuracy"])


def test_a_run_whose_last_step_leaves_the_numbers_says_so():
    options = {"data": "iris", "hidden": (8,), "epochs": 1, "optimizer": "sgd"}
    row = run(Config(**options, learning_rate=1e30))
    assert row["status"] == "not finite after training"
    assert np.isnan(row["nll"])


def test_a_history_goes_on_where_there_are_no_numbers():
    config = Config(**SMALL, optimizer="sgd", learning_rate=1e38)
    frame = experiment.history(config)
    assert frame["epoch"].tolist() == [1, 2, 3, 4]
    assert frame.iloc[-1, 1:].isna().all()


@pytest.mark.parametrize("loss", ["logistic", "binary_cross_entropy", "zero_one"])
def test_losses_of_other_kinds_ask_one_question_a_class(loss):
    row = run(Config(data="iris", loss=loss, hidden=(), epochs=30, learning_rate=0.05))
    assert (row["accuracy"] > 0.6) == (loss != "zero_one")


def test_weights_help_the_rare_class():
    common = {"data": "rare_blobs", "train": 3000, "epochs": 5}
    plain, weighted = (run(Config(**common, weighting=w)) for w in ("none", "inverse"))
    assert weighted["balanced_error"] < plain["balanced_error"] - 0.05


def test_where_all_labels_are_wrong_none_is_learned_that_is_right():
    row = run(Config(**SMALL, noise="pair", noise_rate=1.0))
    assert np.isnan(row["fit_clean"])
    assert 0 <= row["fit_flipped"] <= 1


def test_a_history_follows_the_training():
    frame = experiment.history(
        Config(data="iris", epochs=6, noise="symmetric", noise_rate=0.2)
    )
    assert frame["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert frame["nll"].iloc[-1] < frame["nll"].iloc[0]
    np.testing.assert_allclose(frame[["pull_0", "pull_1", "pull_2"]].sum(axis=1), 1)
    assert frame["fit_flipped"].between(0, 1).all()


def test_a_sweep_keeps_the_order_and_runs_equal_configs_once():
    configs = grid(**SMALL, loss=["mae", "cross_entropy"], seed=range(3))
    rows = table([*configs, configs[0]])
    assert rows["loss"].tolist() == ["mae"] * 3 + ["cross_entropy"] * 3
    assert rows["seed"].tolist() == [0, 1, 2] * 2


def test_processes_change_nothing():
    configs = grid(**SMALL, loss=["mae", "cross_entropy"], seed=range(4))
    pd.testing.assert_frame_equal(
        table(configs, n_jobs=1, stack=2), table(configs, n_jobs=2, stack=2)
    )


def test_a_cluster_changes_nothing(tmp_path, monkeypatch):
    """Its workers are threads here; `make scale` takes processes."""
    configs = grid(**SMALL, loss=["mae", "cross_entropy"], seed=range(4))
    alone = table(configs, n_jobs=1, stack=2)
    threads = []

    def noted(*arguments, **options):
        threads.append(threading.current_thread())
        return run_stack(*arguments, **options)

    monkeypatch.setattr(module, "run_stack", noted)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        LocalCluster(processes=False, **options) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        rows = table(configs, stack=2, store=tmp_path)
    assert len(threads) == 4
    assert threading.main_thread() not in threads
    pd.testing.assert_frame_equal(rows, alone)
    pd.testing.assert_frame_equal(table(configs, store=tmp_path), alone)


def test_finished_rows_are_found_again(tmp_path, monkeypatch):
    configs = grid(**SMALL, loss=["mae", "cross_entropy"], seed=range(3))
    first = table(configs, store=tmp_path)
    calls = []
    work = module._work
    monkeypatch.setattr(
        module, "_work", lambda keys, *rest: calls.append(keys) or work(keys, *rest)
    )
    again = table(configs, store=tmp_path)
    pd.testing.assert_frame_equal(first, again)
    assert calls == []
    more = table([*configs, *grid(**SMALL, seed=[7])], store=tmp_path)
    assert [len(keys) for keys in calls] == [1]
    assert len(more) == 7


def test_new_code_makes_new_rows(tmp_path, monkeypatch):
    configs = grid(**SMALL, seed=range(2))
    table(configs, store=tmp_path)
    monkeypatch.setattr(module, "code_version", lambda loss: "changed")
    table(configs, store=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2


@pytest.mark.parametrize("name", ["torch", "numpy", "sklearn"])
def test_rows_of_another_version_are_kept_and_made_again(tmp_path, monkeypatch, name):
    """Whoever has the older version again finds the older rows again."""
    configs = grid(**SMALL, seed=range(2))
    first = table(configs, store=tmp_path)
    older = module.versions() | {name: "0.1"}
    with monkeypatch.context() as patch:
        patch.setattr(module, "versions", lambda: older)
        table(configs, store=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    pd.testing.assert_frame_equal(table(configs, store=tmp_path), first)
    assert len(list(tmp_path.glob("*.parquet"))) == 2


@pytest.mark.parametrize("name", ["lossbook", "python"])
def test_versions_that_decide_no_number_change_no_key(tmp_path, monkeypatch, name):
    configs = grid(**SMALL)
    first = table(configs, store=tmp_path)
    other = module.versions() | {name: "9.9"}
    monkeypatch.setattr(module, "versions", lambda: other)
    pd.testing.assert_frame_equal(table(configs, store=tmp_path), first)
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_the_kind_of_device_decides_the_key():
    keys = {
        device: module._key(Config(), None, torch.float32, device)
        for device in ("cpu", "cuda", "cuda:0")
    }
    assert keys["cpu"] != keys["cuda"] == keys["cuda:0"]


def test_a_row_says_what_it_was_made_with_and_on():
    config = Config(**SMALL, noise="pair", noise_rate=0.2, seed=3)
    rows = [run(replace(config, loss=loss)) for loss in ("mae", "cross_entropy")]
    for name in ("lossbook", "torch", "numpy", "sklearn", "python"):
        assert rows[0][name] == module.versions()[name]
    assert rows[0]["device"] == experiment._run.device_name(
        "cuda" if torch.cuda.is_available() else "cpu"
    )
    assert rows[0]["data_hash"] == rows[1]["data_hash"]
    changes = [{"seed": 4}, {"noise_rate": 0.4}, {"noise": "symmetric"}, {"train": 80}]
    others = [run(replace(config, **change))["data_hash"] for change in changes]
    assert len({rows[0]["data_hash"], *others}) == 5


def test_the_key_of_code_forgets_nothing_that_runs():
    """Whatever module of the package a run executes is in the key, other losses not."""
    script = """
    import sys, lossbook.experiment as e
    before = set()
    def note(frame, event, arg):
        before.add(frame.f_code.co_filename)
    sys.setprofile(note)
    e.run(e.Config(data="gaussian_tree", loss="HierarchicalCrossEntropy", epochs=1,
                   weighting="effective", outliers=0.1, noise="instance",
                   noise_rate=0.1, hidden=()))
    sys.setprofile(None)
    print(*before, sep="\\n")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = {
        path for path in map(Path, found.stdout.split()) if code.PACKAGE in path.parents
    }
    names = {str(path.relative_to(code.PACKAGE)) for path in ours}
    assert {
        "trees.py",
        "weights.py",
        "validate.py",
        "losses/hierarchy/_paths.py",
    } <= names
    hashed = code.sources("lossbook.losses.hierarchy._hierarchical_cross_entropy")
    hashed |= code.sources("lossbook.experiment")
    assert not names - {str(path.relative_to(code.PACKAGE)) for path in hashed}
    assert not [path for path in hashed if path.name in ("_focal.py", "_cards.py")]


@pytest.mark.parametrize("part", ["posterior", "clean"])
def test_all_of_own_arrays_decides_the_key(tmp_path, part):
    """Instance noise is drawn from the posterior, what is fitted told by `clean`."""
    task = data.two_gaussians(60, rng=np.random.default_rng(0))
    task = replace(task, clean=task.labels)
    other = replace(task, **{part: getattr(task, part)[::-1]})
    config = Config(data="mine", hidden=(), epochs=2, noise="instance", noise_rate=0.3)
    for own in (task, other):
        table([config], given={"mine": own}, store=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_a_damaged_file_is_named_set_aside_and_made_again(tmp_path):
    configs = grid(**SMALL, seed=range(4))
    first = table(configs, store=tmp_path, stack=2)
    path = sorted(tmp_path.glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(
        UserWarning, match=rf"{path.name} could not be read .* set aside"
    ):
        again = table(configs, store=tmp_path, stack=2)
    pd.testing.assert_frame_equal(first, again)
    assert path.with_suffix(".damaged").exists()
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_a_table_of_something_else_is_left_alone(tmp_path):
    other = tmp_path / "other.parquet"
    pd.DataFrame({"price": [1.0]}).to_parquet(other)
    table(grid(**SMALL), store=tmp_path)
    assert pd.read_parquet(other)["price"].tolist() == [1.0]


def test_where_nothing_reads_parquet_the_store_is_left_alone(tmp_path, monkeypatch):
    configs = grid(**SMALL)
    table(configs, store=tmp_path)
    before = sorted(tmp_path.iterdir())

    def no_reader(path):
        raise ImportError("pyarrow or fastparquet is needed")

    monkeypatch.setattr(module.pd, "read_parquet", no_reader)
    with pytest.raises(ImportError, match="pyarrow"):
        table(configs, store=tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_own_arrays_work_and_decide_the_key(tmp_path):
    task = data.moons(90, rng=np.random.default_rng(0))
    config = Config(data="mine", hidden=(8,), epochs=30, learning_rate=0.02)
    rows = table([config], given={"mine": task}, store=tmp_path)
    assert rows["accuracy"][0] > 0.7
    assert rows["seen"][0] == 60
    other = data.moons(90, rng=np.random.default_rng(1))
    table([config], given={"mine": other}, store=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_test_rows_tell_nothing_of_themselves_to_the_training_part():
    """Whatever stands in the test rows, what is trained on stays the same."""
    task = data.moons(90, rng=np.random.default_rng(0))
    marked = replace(task, inputs=np.column_stack([task.inputs, np.arange(90)]))
    config = Config(data="mine")
    _, test = task_of(replace(config, standardize=False), {"mine": marked})
    inputs = task.inputs.copy()
    inputs[test.inputs[:, 2].astype(int)] += 1000
    pairs = [
        task_of(config, {"mine": own}) for own in (task, replace(task, inputs=inputs))
    ]
    np.testing.assert_array_equal(pairs[0][0].inputs, pairs[1][0].inputs)
    np.testing.assert_allclose(pairs[0][0].inputs.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(pairs[0][0].inputs.std(0), 1)
    assert (pairs[1][1].inputs > 100).all()


def test_what_is_not_to_be_standardized_stays():
    task = data.moons(90, rng=np.random.default_rng(0))
    parts = task_of(Config(data="mine", standardize=False), {"mine": task})
    rows = {tuple(row) for row in task.inputs}
    assert all(tuple(row) in rows for part in parts for row in part.inputs)


INTERRUPTED = """
import sys
from lossbook.experiment import grid, sweep

configs = grid(data="iris", hidden=(), epochs=40, batch_size=4, seed=range(12))
if __name__ == "__main__":
    sweep(configs, store=sys.argv[1], stack=2, progress=False)
"""


def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    """The process is killed after its first saved file; nothing is lost or doubled."""
    store = tmp_path / "store"
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(store)]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 120
        while not list(store.glob("*.parquet")) and process.poll() is None:
            assert time.monotonic() < deadline
        process.kill()
    kept = [pd.read_parquet(path) for path in store.glob("*.parquet")]
    done = sum(map(len, kept))
    assert 0 < done < 12
    configs = grid(data="iris", hidden=(), epochs=40, batch_size=4, seed=range(12))
    resumed = table(configs, store=store, stack=2)
    pd.testing.assert_frame_equal(resumed, table(configs, stack=2))
    files = pd.concat(pd.read_parquet(path) for path in store.glob("*.parquet"))
    assert files["key"].is_unique
    assert len(files) == 12
    seconds = pd.concat(kept).set_index("key")["seconds"]
    assert (files.set_index("key").loc[seconds.index, "seconds"] == seconds).all()


def test_progress_is_told(capsys):
    sweep(grid(**SMALL, seed=range(2)))
    assert "2 of 2 trainings" in capsys.readouterr().err


def test_a_stack_of_nothing_is_refused():
    with pytest.raises(ValueError, match="stack must be at least 1 model, got 0"):
        sweep([], stack=0)
