"""Data with the truth beside them, and nothing but the seed decides."""

import numpy as np
import pytest
from scipy.optimize import root

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


def rng(seed=0):
    return np.random.default_rng(seed)


def agrees_with_frequencies(task, bins=8, within=0.05):
    """Among examples whose posterior of a class is near p, a share p is of it."""
    np.testing.assert_allclose(task.posterior.sum(1), 1)
    for label in range(task.posterior.shape[1]):
        p = task.posterior[:, label]
        order = np.argsort(p)
        for part in np.array_split(order, bins):
            assert abs((task.labels[part] == label).mean() - p[part].mean()) < within


@pytest.mark.parametrize(
    "task",
    [
        data.rare_blobs(40_000, positives=0.3, rng=rng()),
        data.rare_blobs(40_000, positives=0.05, rng=rng(1)),
        data.ordinal(40_000, classes=4, spread=0.7, rng=rng()),
        data.gaussian_tree(3000, 1, branching=2, depth=3, features=5, rng=rng())[0],
        data.gaussian_tree(1, 3000, branching=3, depth=2, scales=(1, 0.5), rng=rng())[
            1
        ],
    ],
    ids=["blobs", "rare blobs", "ordinal", "tree", "test part of a tree"],
)
def test_every_known_posterior_is_the_truth(task):
    agrees_with_frequencies(task)


def test_ordered_bins_are_equally_likely():
    task = data.ordinal(40_000, classes=5, spread=2.0, rng=rng())
    np.testing.assert_allclose(np.bincount(task.labels) / 40_000, 0.2, atol=0.01)


def test_the_outlier_comes_last_and_is_of_the_other_class():
    task = data.gaussians_with_outlier(100, radius=30.0, rng=rng())
    assert task.inputs.shape == (101, 2)
    assert task.labels[-1] == 0
    assert task.posterior[-1, 1] > 1 - 1e-12


def test_siblings_lie_closer_than_cousins():
    """Over many trees: the distance of two means grows with that in the tree."""
    close, far = [], []
    for seed in range(40):
        train, _ = data.gaussian_tree(
            50, 1, branching=2, depth=2, scales=(2.0, 0.8), rng=rng(seed)
        )
        means = np.stack([train.inputs[train.labels == c].mean(0) for c in range(4)])
        close.append(np.linalg.norm(means[0] - means[1]))
        far.append(np.linalg.norm(means[0] - means[2]))
    assert np.mean(close) < 0.6 * np.mean(far)


def test_a_level_without_a_scale_is_refused():
    with pytest.raises(
        ValueError, match="scales must hold one number a level, 2, got 3"
    ):
        data.gaussian_tree(1, 1, depth=2, rng=rng())


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: data.moons(600, **options),
        lambda **options: data.rings(600, classes=3, **options),
        lambda **options: data.spirals(600, classes=3, **options),
    ],
    ids=["moons", "rings", "spirals"],
)
def test_curved_classes_need_more_than_a_line(make):
    """A neighbor tells the class; a line does not."""
    task = make(noise=0.02, rng=rng())
    squared = ((task.inputs[:, None] - task.inputs) ** 2).sum(-1)
    np.fill_diagonal(squared, np.inf)
    assert (task.labels[squared.argmin(1)] == task.labels).mean() > 0.97
    bias = np.ones((600, 1))
    design = np.concatenate([task.inputs, bias], 1)
    one_hot = np.eye(task.labels.max() + 1)[task.labels]
    fitted = design @ np.linalg.lstsq(design, one_hot, rcond=None)[0]
    assert (fitted.argmax(1) == task.labels).mean() < 0.92


def test_rings_have_their_radii():
    task = data.rings(300, classes=3, noise=0.0, rng=rng())
    np.testing.assert_allclose(np.linalg.norm(task.inputs, axis=1), task.labels + 1)


def test_long_and_servedio_can_be_separated():
    task = data.long_servedio(noise=0.1)
    assert (task.inputs @ np.array([1.0, 0.0]) > 0).all()
    np.testing.assert_allclose(task.posterior[:, 0], 0.1)
    with pytest.raises(ValueError, match=r"noise must lie between 0 and 1/2, got 0.5"):
        data.long_servedio(noise=0.5)


# An asymmetric matrix: a transposed one looks right in a symmetric case.
UNEVEN = np.array([[0.7, 0.3, 0.0], [0.0, 0.9, 0.1], [0.25, 0.25, 0.5]])


def uneven_task():
    labels = rng().permutation(np.repeat([0, 1, 2], [100, 200, 40]))
    return data.Task(inputs=rng().normal(size=(340, 2)), labels=labels)


@pytest.mark.parametrize(
    ("gamma", "noise", "right"),
    [(1 / 24, 0.1, 2), (1 / 24, 0.05, 4), (1 / 48, 0.05, 2)],
)
def test_long_and_servedios_scale_depends_on_the_noise(gamma, noise, right):
    """The logistic loss at its minimum, where the expected gradient is 0."""
    task = data.long_servedio(gamma=gamma, noise=noise)

    def slope(weight):
        wrong = 1 / (1 + np.exp(task.inputs @ weight))  # P(class 0)
        return (task.posterior[:, 0] - wrong) @ task.inputs

    found = root(slope, np.ones(2), tol=1e-12)
    assert np.abs(slope(found.x)).max() < 1e-9
    assert (task.inputs @ found.x > 0).sum() == right


def test_flips_have_exact_rates_in_the_right_direction():
    task = uneven_task()
    noisy = data.flip(task, UNEVEN, rng=rng(1))
    moved = np.zeros((3, 3), dtype=int)
    np.add.at(moved, (noisy.clean, noisy.labels), 1)
    np.testing.assert_array_equal(moved, [[70, 30, 0], [0, 180, 20], [10, 10, 20]])
    np.testing.assert_array_equal(noisy.clean, task.labels)
    np.testing.assert_array_equal(noisy.inputs, task.inputs)


def test_flips_round_without_losing_anybody():
    task = data.Task(inputs=np.zeros((7, 1)), labels=np.zeros(7, dtype=int))
    noisy = data.flip(task, data.symmetric_noise(4, 0.5), rng=rng())
    counts = np.bincount(noisy.labels, minlength=4)
    assert counts.sum() == 7
    assert abs(counts - np.array([3.5, 7 / 6, 7 / 6, 7 / 6])).max() < 1


def test_noise_on_noise_remembers_the_first_truth():
    task = uneven_task()
    once = data.flip(task, UNEVEN, rng=rng(1))
    twice = data.flip(once, UNEVEN, rng=rng(2))
    np.testing.assert_array_equal(twice.clean, task.labels)


def test_classes_are_renamed_by_their_frequency_in_training():
    labels = np.array([2, 0, 2, 1, 2, 0])  # from the most frequent: 2, 0, 1
    posterior = np.eye(3)[labels] * 0.7 + 0.1
    seen = data.Task(
        inputs=np.arange(6.0)[:, None],
        labels=labels,
        posterior=posterior,
        clean=labels[::-1],
    )
    rare_ones = data.Task(inputs=np.zeros((4, 1)), labels=np.array([1, 1, 1, 2]))
    train, test = data.by_frequency(seen, rare_ones)
    assert train.labels.tolist() == [0, 1, 0, 2, 0, 1]
    assert train.clean.tolist() == [1, 0, 2, 0, 1, 0]
    np.testing.assert_array_equal(train.posterior, np.eye(3)[train.labels] * 0.7 + 0.1)
    np.testing.assert_array_equal(train.inputs, seen.inputs)
    assert test.labels.tolist() == [2, 2, 2, 0]  # the training part decides
    assert test.posterior is None
    assert test.clean is None


def test_a_class_that_training_lacks_has_no_rank():
    seen = data.Task(inputs=np.zeros((3, 1)), labels=np.array([0, 2, 2]))
    message = "every class must have a training example, got none of 1"
    with pytest.raises(ValueError, match=message):
        data.by_frequency(seen, seen)


def test_the_matrices_of_noise():
    np.testing.assert_allclose(data.symmetric_noise(5, 0.4).sum(1), 1)
    np.testing.assert_allclose(np.diag(data.symmetric_noise(5, 0.4)), 0.6)
    pair = data.pair_noise(3, 0.4)
    assert (pair[0, 1], pair[1, 2], pair[2, 0]) == (0.4, 0.4, 0.4)
    assert pair[1, 0] == 0


@pytest.mark.parametrize("known", [True, False], ids=["posterior", "distances"])
def test_people_err_where_it_is_hard(known):
    task = data.two_gaussians(4000, rng=rng())
    shown = task if known else data.Task(inputs=task.inputs, labels=task.labels)
    noisy = data.instance_noise(shown, 0.2, rng=rng(1))
    wrong = noisy.labels != noisy.clean
    assert wrong.sum() == 800
    near = abs(task.inputs[:, 0]) < 0.5
    assert wrong[near].mean() > 2 * wrong[~near].mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: data.symmetric_noise(3, 1.5),
            "rate must lie between 0 and 1, got 1.5",
        ),
        (lambda: data.pair_noise(1, 0.5), "classes must be at least 2, got 1"),
        (
            lambda: data.flip(uneven_task(), np.full((3, 3), 0.5), rng=rng()),
            "transition must be a square matrix whose rows are probabilities that sum "
            "to 1, got shape (3, 3) with row sums [1.5, 1.5, 1.5]",
        ),
        (
            lambda: data.flip(uneven_task(), np.eye(2), rng=rng()),
            "transition must have a row for each class, got 2 rows for the label 2",
        ),
        (
            lambda: data.long_tail_counts(10, classes=3, ratio=0.5),
            "ratio must be at least 1, got 0.5",
        ),
        (
            lambda: data.long_tail_counts(10, classes=3, ratio=2, profile="linear"),
            'profile must be "exponential" or "step", got \'linear\'',
        ),
        (
            lambda: data.subsample(uneven_task(), [100, 200, 41], rng=rng()),
            "counts must not exceed what there is: class 2 has 40 examples, got 41",
        ),
        (
            lambda: data.iris(train=149, rng=rng()),
            "train must leave both parts an example a class, 3 to 147 of 150, got 149",
        ),
        (
            lambda: data.ordinal(5, spread=0.0, rng=rng()),
            "spread must be positive, got 0",
        ),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the whole message below)
        call()
    assert str(refused.value) == message


def test_a_tail_falls_by_one_factor():
    counts = data.long_tail_counts(1000, classes=4, ratio=1000)
    np.testing.assert_array_equal(counts, [1000, 100, 10, 1])
    step = data.long_tail_counts(90, classes=5, ratio=9, profile="step")
    np.testing.assert_array_equal(step, [90, 90, 90, 10, 10])


def test_a_part_has_the_asked_counts():
    task = uneven_task()
    part = data.subsample(task, [5, 0, 7], rng=rng())
    np.testing.assert_array_equal(np.bincount(part.labels, minlength=3), [5, 0, 7])
    rows = {
        tuple(row): label for row, label in zip(task.inputs, task.labels, strict=True)
    }
    assert all(
        rows[tuple(r)] == y for r, y in zip(part.inputs, part.labels, strict=True)
    )


def test_costs_point_from_truth_to_decision():
    costs = np.array([[0.0, 1.0], [20.0, 0.0]])  # to overlook class 1 costs 20
    posterior = np.array([[0.96, 0.04], [0.94, 0.06]])
    np.testing.assert_array_equal(data.cheapest(posterior, costs), [0, 1])
    np.testing.assert_array_equal(
        data.cheapest(posterior, data.zero_one_costs(2)), [0, 0]
    )
    median = data.cheapest(np.array([0.4, 0.15, 0.45]), data.ordered_costs(3))
    assert median == 1
    drawn = data.random_costs(4, spread=5.0, rng=rng())
    off = drawn[~np.eye(4, dtype=bool)]
    assert (np.diag(drawn) == 0).all()
    assert off.min() >= 1
    assert off.max() <= 5


@pytest.mark.parametrize(
    ("make", "features", "classes", "n"),
    [
        (data.digits, 64, 10, 1797),
        (data.wine, 13, 3, 178),
        (data.iris, 4, 3, 150),
        (data.diabetes, 10, 5, 442),
    ],
)
def test_real_data_are_split_by_class(make, features, classes, n):
    train, test = make(rng=rng())
    assert train.inputs.shape[1] == test.inputs.shape[1] == features
    assert len(train.labels) + len(test.labels) == n
    both = np.concatenate([train.labels, test.labels])
    share = len(train.labels) / n
    for label in range(classes):
        expected = share * (both == label).sum()
        assert abs((train.labels == label).sum() - expected) <= 1
    again, _ = make(rng=rng())
    np.testing.assert_array_equal(again.inputs, train.inputs)
    other, _ = make(rng=rng(1))
    assert (other.labels != train.labels).any()


def test_digits_are_between_0_and_1():
    train, test = data.digits(rng=rng())
    assert (train.inputs.min(), train.inputs.max()) == (0, 1)
    assert len(train.labels) == 1200
    rows = {tuple(row) for row in train.inputs}
    assert sum(tuple(row) in rows for row in test.inputs) == 0


def test_ordered_bins_follow_the_progression():
    """More of a known risk (body mass, feature 2) goes with more progression."""
    train, _ = data.diabetes(rng=rng())
    means = [train.inputs[train.labels == k, 2].mean() for k in range(5)]
    assert means[4] > means[2] > means[0]
    np.testing.assert_allclose(train.inputs.std(0), 1)


def test_noise_is_stacked_with_the_truth():
    pair = data.stack([data.flip(uneven_task(), UNEVEN, rng=rng(s)) for s in (1, 2)])
    assert pair.clean.shape == pair.labels.shape == (2, 340)


def test_a_feature_that_is_constant_in_training_is_moved_only():
    """The mean of seven times 0.1 is rounded, so their deviation is not 0."""
    constant = np.full((7, 1), 0.1)
    assert constant.std() > 0
    train = data.Task(inputs=constant, labels=np.zeros(7, dtype=int))
    test = data.Task(inputs=np.array([[0.1], [0.6]]), labels=np.array([0, 1]))
    first, second = data.standardized(train, test)
    np.testing.assert_allclose(first.inputs, 0, atol=1e-15)
    np.testing.assert_allclose(second.inputs[:, 0], [0, 0.5], atol=1e-15)


def test_standardizing_keeps_what_is_known_of_the_labels():
    task = data.ordinal(30, rng=np.random.default_rng(0))
    noisy = data.instance_noise(task, 0.2, rng=np.random.default_rng(1))
    first, second = data.standardized(noisy.take(np.arange(20)), noisy)
    np.testing.assert_array_equal(first.clean, noisy.clean[:20])
    np.testing.assert_array_equal(second.posterior, noisy.posterior)


@pytest.mark.parametrize("make", [data.symmetric_noise, data.pair_noise])
def test_the_noise_that_was_made_is_observed(make):
    labels = np.repeat(np.arange(4), 100)
    clean = data.Task(inputs=np.zeros((400, 1)), labels=labels)
    noisy = data.flip(clean, make(4, 0.3), rng=np.random.default_rng(0))
    np.testing.assert_allclose(data.observed_noise(noisy, classes=4), make(4, 0.3))


def test_observed_noise_counts_from_truth_to_label():
    """An asymmetric case: half of class 0 is called 2, and nobody else moves."""
    labels, clean = np.array([0, 2, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2, 2])
    task = data.Task(inputs=np.zeros((6, 1)), labels=labels, clean=clean)
    wanted = np.eye(4)
    wanted[0] = [0.5, 0, 0.5, 0]
    np.testing.assert_array_equal(data.observed_noise(task, classes=4), wanted)
    plain = data.Task(inputs=task.inputs, labels=labels)
    np.testing.assert_array_equal(data.observed_noise(plain, classes=3), np.eye(3))
    with pytest.raises(ValueError, match="more than the largest label, 2, got 2"):
        data.observed_noise(task, classes=2)


def test_a_disk_is_round_and_brighter_than_its_surroundings():
    task = data.disks(200, noise=0.0, rng=np.random.default_rng(0))
    assert (task.inputs[task.labels == 0] == 0).all()
    assert task.inputs[task.labels == 1].min() >= 0.5
    assert task.inputs.max() <= 1.5
    assert 0.01 <= task.labels.mean() <= 0.03
    # A disk of radius r has about pi r^2 pixels, and an image at most three of them.
    areas = task.labels.sum((1, 2))
    assert areas.min() >= 3
    assert areas.max() <= 3 * np.pi * 2.7**2


def test_disks_lie_anywhere_but_on_the_edge():
    masks = data.disks(400, size=12, rng=np.random.default_rng(0)).labels
    covered = masks.sum(0)
    assert (covered[2:-2, 2:-2] > 0).all()
    assert (covered[0] == 0).all()
    assert (covered[:, -1] == 0).all()


def test_so_many_images_are_empty_and_the_noise_is_as_asked():
    task = data.disks(40, noise=0.7, empty=0.3, rng=np.random.default_rng(0))
    assert (task.labels.sum((1, 2)) == 0).sum() == 12
    assert abs(task.inputs[task.labels == 0].std() - 0.7) < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 7}, "size must be at least 8 pixels, got 7"),
        ({"empty": 1.2}, "empty must lie between 0 and 1, got 1.2"),
    ],
)
def test_disks_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.disks(3, rng=np.random.default_rng(0), **options)


def test_surroundings_are_means_of_squares_in_the_order_of_the_pixels():
    images = np.random.default_rng(0).normal(size=(2, 5, 7))
    found = data.surroundings(images, widths=[1, 3])
    assert found.shape == (2, 35, 2)
    np.testing.assert_array_equal(found[..., 0], images.reshape(2, 35))
    pixel = 2 * 7 + 4
    expected = images[:, 1:4, 3:6].mean((1, 2))
    np.testing.assert_allclose(found[:, pixel, 1], expected)
