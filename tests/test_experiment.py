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


@pytest.mark.parametrize("seed", [0, 4])
def test_a_start_holds_no_number_that_the_data_hold(seed):
    """Drawn from one stream, the first weights would be the first inputs."""
    weights = experiment.Models.start([seed], [10, 64, 5]).layers[0][0].detach()
    drawn = weights.flatten()
    config = experiment.Config(data="ordinal", seed=seed)
    inputs = experiment.task_of(config)[0].inputs
    again = np.random.default_rng(seed).normal(size=640)
    for numbers in (inputs.flatten()[:640], again):
        assert abs(np.corrcoef(drawn, numbers)[0, 1]) < 0.2


def test_a_slope_that_is_no_number_is_noted_at_the_last_step():
    def kinked(outputs, labels):  # 0 everywhere, and its slope is nowhere a number
        return (0 * outputs).sum(-1).sqrt()

    assert trained(loss=kinked, steps=1).failed.tolist() == [1, 1, 1]
    assert trained(steps=1).failed.tolist() == [-1, -1, -1]


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


def test_images_stand_in_a_row_under_their_names():
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("agg")
    panels = {"noise": np.arange(6.0).reshape(2, 3), "mask": np.eye(2) > 0}
    drawn = plots.images(panels, figure=plt.figure())
    assert [ax.get_title() for ax in drawn.axes] == ["noise", "mask"]
    places = [ax.get_position() for ax in drawn.axes]
    assert abs((places[0].y0 + places[0].y1) - (places[1].y0 + places[1].y1)) < 1e-9
    assert places[0].x1 < places[1].x0
    np.testing.assert_array_equal(drawn.axes[0].images[0].get_array(), panels["noise"])
    plt.close("all")


def test_a_surface_has_its_first_axis_across():
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("agg")
    at = np.array([0.0, 1.0, 2.0])
    values = np.stack([at, at, at])  # rises along the second axis only
    _, ax = plt.subplots()
    plots.surface(at, values, name="a slope", ax=ax)
    drawn = ax.collections[0].get_array()
    np.testing.assert_array_equal(drawn, np.stack([at, at, at], 1))
    assert ax.get_title() == "a slope"
    plt.close("all")


# --- models and training -------------------------------------------------------


def test_a_cosine_head_gives_cosines_and_an_embedding_lies_on_the_sphere():
    cosine = trained(head="cosine", hidden=(8,), loss=lossbook.cross_entropy)
    outputs = cosine.outputs(TASKS.inputs)
    assert outputs.abs().max() <= 1 + 1e-12
    torch.testing.assert_close(cosine.logits(TASKS.inputs), 30 * outputs)
    embedding = experiment.Models.start([0], [2, 64, 5], head="embedding")
    lengths = embedding.outputs(TASKS.inputs[0]).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    with pytest.raises(ValueError, match="head must be one of linear, cosine, embed"):
        trained(head="round")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_stack_with_batches_is_as_one_by_one(optimizer, batch_size):
    """Loss parameters and labels vary along the stack; each model is as if alone."""
    options = {
        "hidden": (6,),
        "optimizer": optimizer,
        "batch_size": batch_size,
        "learning_rate": 0.02,
        "weight_decay": 0.01,
        "steps": 25,
    }
    gammas = [0.0, 1.0, 2.5]

    def stacked(outputs, labels):
        return lossbook.focal(outputs, labels, gamma=torch.tensor(gammas)[:, None])

    together = trained(loss=stacked, **options).logits(TASKS.inputs)
    for i, gamma in enumerate(gammas):

        def alone(outputs, labels, gamma=gamma):
            return lossbook.focal(outputs, labels, gamma=gamma)

        one = experiment.train(
            TASKS.inputs[i], TASKS.labels[i], alone, seeds=[i], **options
        )
        torch.testing.assert_close(
            together[i], one.logits(TASKS.inputs[i])[0], rtol=1e-9, atol=1e-9
        )


def test_one_loss_a_model_equals_one_loss_for_all():
    several = [lambda z, y: lossbook.cross_entropy(z, y)] * 3
    torch.testing.assert_close(
        trained(loss=several).logits(TASKS.inputs), trained().logits(TASKS.inputs)
    )
    with pytest.raises(ValueError, match="loss must be one function or one a seed, 3"):
        trained(loss=several[:2])


def test_a_loss_that_asks_is_told_the_positions():
    seen = []

    def loss(outputs, labels, index):
        seen.append(index)
        torch.testing.assert_close(labels, torch.tensor(TASKS.labels).gather(1, index))
        return lossbook.cross_entropy(outputs, labels)

    trained(loss=loss, batch_size=80, steps=3)
    epoch = torch.cat(seen, 1)
    assert epoch.shape == (3, 200)
    assert (epoch.sort(1).values == torch.arange(200)).all()
    assert (epoch[0] != epoch[1]).any()


def test_batches_never_depend_on_the_loss():
    orders = []
    for loss in (lossbook.cross_entropy, lossbook.mae):
        seen = []

        def spy(outputs, labels, index, loss=loss, seen=seen):
            seen.append(index)
            return loss(outputs, labels)

        trained(loss=spy, batch_size=80, steps=5)
        orders.append(torch.cat(seen, 1))
    torch.testing.assert_close(*orders)


def test_a_model_that_leaves_the_numbers_stops_alone():
    inputs = TASKS.inputs.copy()
    inputs[1, 0] = 1e200  # squared, this is infinite

    def loss(outputs, labels):
        return lossbook.cross_entropy(outputs, labels) + outputs.square().sum(-1)

    models = experiment.train(inputs, TASKS.labels, loss, seeds=[0, 1, 2], steps=10)
    assert models.failed.tolist() == [-1, 0, -1]
    kept = experiment.train(
        TASKS.inputs[::2], TASKS.labels[::2], loss, seeds=[0, 2], steps=10
    )
    torch.testing.assert_close(
        models.logits(TASKS.inputs)[::2], kept.logits(TASKS.inputs[::2])
    )


def test_deferred_weights_hold_from_their_time_on():
    weight = np.where(TASKS.labels == 1, 5.0, 1.0)
    never = trained(sample_weight=weight, weight_from=1.0)
    torch.testing.assert_close(
        never.logits(TASKS.inputs), trained().logits(TASKS.inputs)
    )
    late = trained(sample_weight=weight, weight_from=0.5)
    rises = late.probabilities(TASKS.inputs)[..., 1].mean()
    assert rises > never.probabilities(TASKS.inputs)[..., 1].mean() + 0.02


def test_epochs_are_counted():
    told = []
    trained(
        batch_size=64,
        steps=8,
        after_epoch=lambda epoch, models: told.append((epoch, models.layers[0][0][0])),
    )
    assert [epoch for epoch, _ in told] == [1, 2]
