"""The measured ways compute the same: ours and PyTorch's, at once and in loops."""

from collections.abc import Mapping

import jax
import numpy as np
import pytest

pytest.importorskip("torch", reason="the measured program compares with PyTorch: pip install torch")

from examples import cost
from hrnet_jax import configuration
from hrnet_jax.models import simple_baseline
from hrnet_jax.torch_interop import loading

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def sides():
    """A ResNet of four blocks and few channels, twice, and two people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(simple_baseline.BLOCKS, 50, (1, 1, 1, 1))
        patch.setattr(cost, "MEMBERS", 2)
        config = configuration.default("simple_baseline")
        config.image_size = (64, 64)
        config.model.update(stem=8, features=16)
        yield cost.prepare(config, people=2)


def gradients(value) -> list[np.ndarray]:
    """Lists trees of gradients, of each person or of all, with PyTorch's names and layout."""
    if isinstance(value, list):
        return [array for one in value for array in gradients(one)]
    if "conv1" in value:  # ours
        value = {name: np.asarray(x) for name, x in loading.to_pytorch({"params": value}).items()}
    return [np.asarray(value[name]) for name in sorted(value)]


def of_people(value):
    """Lists gradients with a leading axis of people."""
    if isinstance(value, list):
        return value
    return [jax.tree.map(lambda x, i=i: x[i], value) for i in range(2)]


def maps(value) -> list[np.ndarray]:
    """Lists heatmaps of the members, channels first."""
    ours = isinstance(value, jax.Array) or (isinstance(value, list) and isinstance(value[0], jax.Array))
    stacked = np.stack([np.asarray(x) for x in value])
    return [np.moveaxis(stacked, -1, 2) if ours else stacked]


def pixels(value) -> list[np.ndarray]:
    """Lists images, or Jacobians by the pixels of an image, channels first."""
    array = np.asarray(value)
    array = np.moveaxis(array, -1, -3) if isinstance(value, jax.Array) else array
    return [array.reshape(-1, 3, 64, 64)]


ARRAYS = {
    "gradients of each person": lambda value: gradients(of_people(value)),
    "Hessian-vector product": gradients,
    "SAM's gradient": gradients,
    "ensemble of 4": maps,
    "Jacobian of one person": pixels,
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # in torch's own jvp
@pytest.mark.parametrize("row", ARRAYS)
def test_all_ways_compute_the_same(sides, row):
    ways = {name: ARRAYS[row](compute()) for name, compute in cost.ROWS[row](*sides).items()}
    assert len(ways) >= 2
    expected = next(iter(ways.values()))
    length = np.sqrt(sum(np.square(array).sum() for array in expected))
    assert length > 0
    for name, arrays in ways.items():
        error = np.sqrt(sum(np.square(a - b).sum() for a, b in zip(arrays, expected, strict=True)))
        assert error < 1e-3 * length, name


def test_attacks_of_both_sides_are_as_strong(sides):
    ours, theirs = sides
    attacks = {name: pixels(compute())[0] for name, compute in cost.ROWS["PGD, 10 steps"](ours, theirs).items()}
    losses = np.array([float(ours.image_loss(np.moveaxis(image, 1, -1))) for image in attacks.values()])
    increases = losses - float(ours.image_loss(ours.image))
    assert increases[0] > 1e-5
    np.testing.assert_allclose(increases[1:], increases[0], rtol=0.05)


def test_the_table_has_medians_and_ratios():
    calls = {"first": 0, "second": 0}

    def way(name):
        def compute():
            calls[name] += 1
            return np.zeros(3)

        return compute

    lines = cost.measure("row", {name: way(name) for name in calls}, rounds=3).splitlines()
    assert calls == {"first": 4, "second": 4}
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cell[:2] for cell in cells] == [["row", "first"], ["", "second"]]
    assert cells[0][3] == "1.00" and float(cells[1][3]) > 0


def test_rows_are_those_of_the_page():
    assert set(cost.ROWS) == {*ARRAYS, "PGD, 10 steps"}
    assert isinstance(cost.ROWS, Mapping)
