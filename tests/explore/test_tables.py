"""Tables: as exact as 8 bits allow, in Python and in the page alike."""

import json

import numpy as np
import pytest

from lossbook import explore

X = np.linspace(-2, 2, 81)
GRIDS = {"a": np.linspace(0, 1, 11), "b": np.array([0.5, 1.0, 3.0])}


def smooth(x, a, b):
    return np.sin(x + a) * b


def smooth_table():
    return explore.Table.of(smooth, x=X, grids=GRIDS)


def test_points_of_the_table_are_off_by_a_level_at_most():
    table = smooth_table()
    for a in GRIDS["a"]:
        for b in GRIDS["b"]:
            error = np.abs(table.numpy(X, a=a, b=b) - smooth(X, a, b)).max()
            assert error <= table.resolution * (1 + 1e-9)


def test_between_points_the_error_is_that_of_interpolation():
    table = smooth_table()
    x, a, b = X[:-1] + 0.025, 0.55, 2.0
    error = np.abs(table.numpy(x, a=a, b=b) - smooth(x, a, b)).max()
    # Linear interpolation: step^2 / 8 times the second derivative, at most 3 here, in x
    # and in a; the curve is linear in b.
    bound = 3 * (0.05**2 + 0.1**2) / 8
    assert error <= table.resolution + bound


def test_there_are_254_steps():
    table = explore.Table.of(lambda x: 1.0 * x, x=[0.0, 1.0], grids={})
    assert table.resolution == pytest.approx(1 / 254)
    assert table.codes.tolist() == [[0, 254]]


def test_the_page_reads_a_table_as_python_does(javascript):
    values = np.array([np.sin(X), np.cos(X)])
    values[0, 40:44] = np.nan
    values[1, 0] = np.inf
    table = explore.Table.from_values(X, {"a": np.array([0.0, 2.0])}, values)
    spec = json.dumps(table.spec(["unused", "a"]))
    source = f"tableFunction({spec})"
    places = [-2.1, -2.0, -1.99, -1.0, 0.0, 0.03, 0.175, 0.21, 1.234, 2.0]
    for a in (-1.0, 0.0, 0.5, 2.0, 3.0):
        shown = javascript.values(source, [[x, 99.0, a] for x in places])
        np.testing.assert_allclose(shown, table.numpy(places, a=a), atol=1e-7)


def test_two_parameters_in_the_page(javascript):
    table = smooth_table()
    spec = json.dumps(table.spec(["a", "b"]))
    points = [[x, a, b] for x in (-1.3, 0.4) for a in (0, 0.37, 1) for b in (0.5, 2.2)]
    expected = [table.numpy(x, a=a, b=b) for x, a, b in points]
    np.testing.assert_allclose(
        javascript.values(f"tableFunction({spec})", points), expected, atol=1e-7
    )


def test_a_hole_stays_a_hole_and_no_more():
    values = np.array([[0.0, 1.0, np.nan, 3.0, 4.0]])
    table = explore.Table.from_values(np.arange(5.0), {}, values)
    found = table.numpy([1.0, 1.5, 2.0, 2.5, 3.0])
    assert np.isnan(found).tolist() == [False, True, True, True, False]


def test_steps_of_one_level_are_smoothed_and_bends_are_not():
    slope = explore.Table.of(lambda x: x * 0.001, x=np.arange(100.0), grids={})
    gentle = explore.Table.from_values(
        np.arange(101.0), {}, np.append(slope.values[0], 1.0)[None]
    )
    assert np.diff(gentle.values[0][:90]).max() < 0.75 * gentle.resolution
    kink = explore.Table.of(lambda x: np.abs(x), x=np.linspace(-1, 1, 21), grids={})
    assert kink.values[0, 10] == 0


def test_a_constant_is_stored():
    table = explore.Table.of(lambda x: 0 * x + 3, x=[0.0, 1.0], grids={})
    assert table.numpy(0.3) == pytest.approx(3)


def test_three_parameters_are_refused():
    grids = {"a": [0, 1], "b": [0, 1], "c": [0, 1]}
    with pytest.raises(ValueError, match="at most 2 parameters, got 3: a, b, c; fix"):
        explore.Table.of(lambda x, a, b, c: x, x=X, grids=grids)


@pytest.mark.parametrize("x", [[0.0], [0.0, 1.0, 3.0], [1.0, 0.0], [[0.0, 1.0]]])
def test_uneven_places_are_refused(x):
    with pytest.raises(ValueError, match="x must be at least two evenly spaced"):
        explore.Table.of(lambda x: x, x=x, grids={})


def test_a_grid_that_does_not_ascend_is_refused():
    with pytest.raises(ValueError, match="the grid of a must be ascending"):
        explore.Table.of(lambda x, a: x, x=X, grids={"a": [1, 0]})


def test_a_wrong_shape_is_refused():
    with pytest.raises(
        ValueError, match=r"shape \(2, 81\) \(states, places\), got \(5,"
    ):
        explore.Table.of(lambda x, a: np.zeros(5), x=X, grids={"a": [0, 1]})


def test_no_finite_value_is_refused():
    with pytest.raises(ValueError, match="at least one finite value, got none"):
        explore.Table.of(lambda x: x * np.nan, x=X, grids={})


def test_a_table_needs_its_slider():
    with pytest.raises(ValueError, match="table of curve 'c' varies with a, b; add"):
        explore.Explorer(variable="x", curves={"c": smooth_table()}, alt="a")


def test_a_table_is_no_torch_function():
    table = explore.Table.of(lambda x: x, x=X, grids={})
    explorer = explore.Explorer(
        variable="x", curves={"c": table}, alt="a", x_range=(-2, 2)
    )
    assert explorer.numpy("c")(0.5) == pytest.approx(0.5, abs=table.resolution)
    with pytest.raises(ValueError, match="curve 'c' must be a formula"):
        explorer.torch("c")
