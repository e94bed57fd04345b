"""Training in lockstep: each model is as if it were alone."""

import numpy as np
import pytest
import torch

import lossbook
from lossbook import data, experiment, metrics, plots, stats


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


TASKS = data.repeat(data.two_gaussians, 200, positives=0.3, seeds=range(3))


def trained(tasks=TASKS, seeds=(0, 1, 2), **options):
    loss = options.pop("loss", lossbook.cross_entropy)
    options = {"steps": 40, **options}
    return experiment.train(tasks.inputs, tasks.labels, loss, seeds=seeds, **options)


@pytest.mark.parametrize("hidden", [(), (8, 4)])
def test_a_model_in_the_stack_is_as_alone(hidden):
    together = trained(hidden=hidden).logits(TASKS.inputs)
    for i in range(3):
        one = experiment.train(
            TASKS.inputs[i : i + 1],
            TASKS.labels[i : i + 1],
            lossbook.cross_entropy,
            seeds=[i],
            hidden=hidden,
            steps=40,
        )
        alone = one.logits(TASKS.inputs[i])
        torch.testing.assert_close(together[i], alone[0], rtol=1e-9, atol=1e-9)


def test_it_finds_the_minimum():
    """At the minimum of cross-entropy the mean prediction is the base rate."""
    p = trained(steps=300).probabilities(TASKS.inputs)[..., 1]
    np.testing.assert_allclose(p.mean(-1), 0.3, atol=1e-5)


def test_losses_meet_the_same_start():
    starts = [
        trained(steps=1, learning_rate=0.0, loss=loss, hidden=(4,)).logits(TASKS.inputs)
        for loss in (lossbook.cross_entropy, lossbook.mae)
    ]
    torch.testing.assert_close(*starts)


def test_a_weight_counts_like_copies():
    twice = np.concatenate([TASKS.inputs, TASKS.inputs[:, :50]], 1)
    labels = np.concatenate([TASKS.labels, TASKS.labels[:, :50]], 1)
    weight = np.ones((3, 200))
    weight[:, :50] = 2
    copied = experiment.train(
        twice, labels, lossbook.cross_entropy, seeds=[0, 1, 2], steps=40
    )
    weighted = trained(sample_weight=weight)
    torch.testing.assert_close(
        copied.logits(TASKS.inputs), weighted.logits(TASKS.inputs)
    )


def test_weight_decay_shrinks_weights():
    free, held = trained(), trained(weight_decay=0.1)
    assert held.layers[0][0].norm() < free.layers[0][0].norm()


def test_shapes_must_agree_with_seeds():
    with pytest.raises(ValueError, match=r"for K = 2 seeds, got \(3, 200, 2\)"):
        trained(seeds=(0, 1))


def test_metrics_count():
    said, labels = np.array([[1, 1, 0, 0]]), np.array([1, 0, 1, 1])
    assert metrics.recall(said, labels) == [1 / 3]
    assert metrics.recall(said, labels, 0) == [0]
    assert metrics.precision(said, labels) == [1 / 2]
    assert metrics.balanced_accuracy(said, labels) == [1 / 6]
    assert np.isnan(metrics.precision(0 * said, labels))


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [
        low <= 0.3 <= high
        for low, high in (
            stats.paired_interval(rng.normal(0.3, 1, 10)) for _ in range(400)
        )
    ]
    assert 0.92 < np.mean(covered) < 0.98


def test_equal_differences_have_a_point_for_an_interval():
    assert stats.paired_interval(np.full(5, 0.2)) == (0.2, 0.2)


def test_one_difference_has_no_interval():
    with pytest.raises(ValueError, match="at least 2, got shape"):
        stats.paired_interval(np.array([1.0]))


def test_figures_differ_by_more_than_color():
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("agg")
    _, ax = plt.subplots()
    x = np.linspace(0, 1, 5)
    plots.lines(x, {"a": x, "b": x**2, "c": np.stack([x, x**3])}, ax=ax)
    assert len({str(line._unscaled_dash_pattern) for line in ax.lines}) == 3
    _, ax = plt.subplots()
    plots.paired({"a": x, "b": x + 1}, ylabel="y", ax=ax)
    markers = {line.get_marker() for line in ax.lines if line.get_marker() != "None"}
    assert len(markers) == 2
    _, ax = plt.subplots()
    plots.classes(TASKS.inputs[0], TASKS.labels[0], names=["no", "yes"], ax=ax)
    ax.set(xlim=(-3, 3), ylim=(-3, 3))
    plots.cut(lambda points: points[:, 0], 1.0, curve=1, name="cut", ax=ax)
    assert ax.get_legend_handles_labels()[1] == ["no", "yes", "cut"]
    drawn = ax.collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose(drawn[:, 0], 1.0, atol=1e-9)
    plt.close("all")
