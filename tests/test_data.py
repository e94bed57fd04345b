"""Data with the truth beside them, and nothing but the seed decides."""

import numpy as np
import pytest

from lossbook import data


def gaussians(seed=0, **options):
    rng = np.random.default_rng(seed)
    return data.two_gaussians(20_000, rng=rng, **options)


def test_the_share_is_exact():
    assert gaussians(positives=0.01).labels.sum() == 200


def test_the_posterior_is_the_truth():
    """Among people with posterior near p, a share p is positive."""
    task = gaussians(positives=0.3)
    p = task.posterior[:, 1]
    np.testing.assert_allclose(task.posterior.sum(1), 1)
    for low in np.arange(0.05, 0.95, 0.1):
        bin_ = (p >= low) & (p < low + 0.1)
        assert abs(task.labels[bin_].mean() - p[bin_].mean()) < 0.05


def test_the_distance_is_as_asked():
    task = gaussians(distance=3.0)
    centers = [task.inputs[task.labels == k].mean(0) for k in (0, 1)]
    np.testing.assert_allclose(centers[1] - centers[0], [3.0, 0.0], atol=0.1)


def test_the_seed_decides():
    np.testing.assert_array_equal(gaussians(1).inputs, gaussians(1).inputs)
    assert (gaussians(1).inputs != gaussians(2).inputs).any()


def test_an_empty_class_is_refused():
    with pytest.raises(ValueError, match="positives must leave both classes with"):
        data.two_gaussians(10, positives=0.01, rng=np.random.default_rng(0))


def test_the_halves_of_real_data_share_nobody():
    train, test = data.breast_cancer(ratio=20, rng=np.random.default_rng(0))
    both = {tuple(row) for row in train.inputs} & {tuple(row) for row in test.inputs}
    assert not both
    assert (train.labels.sum(), test.labels.sum()) == (8, 8)
    np.testing.assert_allclose(train.inputs.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(train.inputs.std(0), 1, atol=1e-9)


def test_malignant_is_class_1():
    train, _ = data.breast_cancer(ratio=2, rng=np.random.default_rng(0))
    radius = train.inputs[:, 0]
    assert radius[train.labels == 1].mean() > radius[train.labels == 0].mean()


def test_a_ratio_that_the_data_cannot_give_is_refused():
    with pytest.raises(ValueError, match="ratio must be at least 2 benign"):
        data.breast_cancer(ratio=1, rng=np.random.default_rng(0))


def test_repeats_are_stacked():
    tasks = data.repeat(data.two_gaussians, 100, positives=0.1, seeds=[4, 5])
    alone = data.two_gaussians(100, positives=0.1, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(tasks.inputs[1], alone.inputs)
    np.testing.assert_array_equal(tasks.posterior[1], alone.posterior)
    train, test = data.repeat(data.breast_cancer, ratio=20, seeds=[0, 1])
    assert train.inputs.shape[0] == test.labels.shape[0] == 2
    assert train.posterior is None


def test_tasks_of_two_sizes_do_not_stack():
    tasks = [data.two_gaussians(n, rng=np.random.default_rng(0)) for n in (10, 12)]
    with pytest.raises(ValueError, match="tasks must be of one size"):
        data.stack(tasks)
