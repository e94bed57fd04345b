"""The cards of data sets: every statement that can be counted is counted."""

import numpy as np
import pytest

from lossbook import data
from tools import datasets

CARDS = data.DATA_CARDS
HERE = [key for key, card in CARDS.items() if card.source is None]


def parts(key, seed=0):
    return CARDS[key].load(rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def text():
    [page] = datasets.generate().values()
    return page


def test_every_card_has_a_loader_a_section_and_a_license(text):
    for key, card in CARDS.items():
        assert callable(getattr(data, key))
        name = datasets.anchor(card)
        assert f"({name})=\n\n" in text
        assert f"[{card.title}]({name})" in text or card.source is not None
        assert card.good
        assert card.bad
        assert card.license in text


def test_every_loader_of_real_data_has_a_card():
    from lossbook.experiment import TASKS, resplit

    assert {name for name in TASKS if resplit(name)} == set(HERE)


def test_the_counts_are_those_of_scikit_learn(text):
    from sklearn.datasets import load_digits, load_iris, load_wine

    loaders = {"digits": load_digits, "iris": load_iris, "wine": load_wine}
    for key, load in loaders.items():
        counts = np.bincount(load().target).tolist()
        assert data.facts(CARDS[key])["counts"] == counts
        named = zip(CARDS[key].names, counts, strict=True)
        assert ", ".join(f"{name}: {count}" for name, count in named) in text


def test_names_are_one_a_class():
    for key in HERE:
        names, found = CARDS[key].names, data.facts(CARDS[key])
        assert not names or len(names) == found["classes"]


@pytest.mark.parametrize("key", ["digits", "breast_cancer", "wine"])
def test_a_linear_model_leaves_few_errors(key):
    assert "a linear model leaves few errors" in " ".join(CARDS[key].bad)
    assert datasets.linear(CARDS[key])[0] > 0.93


def test_the_bins_of_diabetes_are_hard_but_not_chance():
    low, high = datasets.linear(CARDS["diabetes"])
    assert 1.5 / 5 < low < high < 0.5


@pytest.mark.parametrize("key", ["wine", "iris"])
def test_one_example_is_more_than_a_hundredth(key):
    assert any("more than a hundredth" in point for point in CARDS[key].bad)
    assert data.facts(CARDS[key])["step"] > 0.01


def test_digits_are_nearly_of_one_size():
    found = data.facts(CARDS["digits"])
    assert found["ratio"] < 1.1
    assert min(found["counts"]) > 100


def test_one_measurement_parts_one_iris_from_the_others():
    train, test = parts("iris")
    inputs = np.concatenate([train.inputs, test.inputs])
    labels = np.concatenate([train.labels, test.labels])
    parted = inputs[labels == 0].max(0) < inputs[labels > 0].min(0)
    assert parted.any()
    assert (inputs[labels == 1].max(0) > inputs[labels == 2].min(0)).all()
    assert (inputs[labels == 2].max(0) > inputs[labels == 1].min(0)).all()


def test_the_measurements_of_wine_differ_by_orders_of_magnitude():
    from sklearn.datasets import load_wine

    spread = load_wine().data.std(0)
    assert spread.max() > 1000 * spread.min()


def test_malignant_samples_run_out():
    train, test = data.breast_cancer(ratio=60, rng=np.random.default_rng(0))
    assert max(np.bincount(part.labels)[1] for part in (train, test)) < 4


def test_what_is_to_be_fetched_says_how(text):
    for card in CARDS.values():
        if card.source is not None:
            assert card.source.url in text
            assert all(name in text for name in card.source.files)
    assert "LOSSBOOK_DATA" in text
