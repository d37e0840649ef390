"""Training of HigherHRNet-W32 in float64 against numbers of the authors' code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hrnet_jax import models, training
from hrnet_jax.bottom_up import losses, targets
from hrnet_jax.compare import problem
from hrnet_jax.models import higher_hrnet
from hrnet_jax.torch_interop import loading, state_dict

STEPS = 5
TERMS = ("heat_0", "push_0", "pull_0", "heat_1")
SAMPLES = 8

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("optimized")]


@pytest.fixture(scope="module")
def numbers(shared) -> dict[str, np.ndarray]:
    with np.load(shared / "conformance/higher_hrnet/train_w32.npz") as file:
        return dict(file)


def make_batch(numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the reference's batch of two photos, the second padded with people without joints."""
    size = int(numbers["size"])
    photos = [numbers[f"joints{photo}"] for photo in (0, 1)]
    labels = np.zeros((len(photos), max(map(len, photos)), *photos[0].shape[1:]))
    for photo, people in enumerate(photos):
        labels[photo, : len(people)] = people
    sides = [numbers[f"heatmaps{head}"].shape[-1] for head in (0, 1)]
    masks = {f"mask_{head}": np.packbits(numbers[f"mask{head}"], axis=-1) for head in (0, 1)}
    joints = np.stack([labels[..., :2] * side / size for side in sides], 1)
    return {"joints": joints, "visible": labels[..., 2], **masks}


@pytest.fixture(scope="module")
def trained(numbers):
    """Gradients before the first step, losses and their terms before each, and the state after two."""
    size, batch = int(numbers["size"]), make_batch(numbers)
    model = higher_hrnet.HigherHRNet(batch["visible"].shape[-1], width=32, dtype=jnp.float64)
    adam = optax.adam(1e-3)

    @jax.jit
    def step(state, image):
        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, updated = model.apply(variables, image, train=True, mutable=["batch_stats"])
            value, terms = losses.batch_loss(outputs, batch)
            return value, (updated["batch_stats"], terms)

        (value, (stats, terms)), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        return training.update(state, gradients, stats, adam), gradients, value, terms

    found = {"losses": [], "terms": []}
    with jax.enable_x64(True):
        variables = problem.draw_variables(models.shapes(model, (size, size)))
        image = problem.draw_images("higher_hrnet_w32_train", (len(batch["visible"]), 3, size, size))
        state = training.init_state(variables, adam)
        for number in range(1, STEPS + 1):
            state, gradients, value, terms = step(state, image)
            found["losses"].append(float(value))
            found["terms"].append([float(terms[name]) for name in TERMS])
            if number == 1:
                found["grads"] = loading.to_pytorch({"params": gradients})
            if number == 2:
                found["after2"] = loading.to_pytorch({"params": state.params, "batch_stats": state.batch_stats})
    return found


def row(array: np.ndarray) -> np.ndarray:
    """Returns the norm of an array and samples of it."""
    flat = array.ravel()
    samples = flat[np.linspace(0, flat.size - 1, min(SAMPLES, flat.size)).astype(int)]
    return np.pad([np.linalg.norm(flat), *samples], (0, SAMPLES - len(samples)))


@pytest.mark.parametrize(("kind", "names"), [("grads", "grad_names"), ("after2", "after2_names")])
def test_gradients_and_the_state_after_two_steps_are_the_originals(trained, numbers, kind, names):
    expected = dict(zip(numbers[names].tolist(), numbers[kind], strict=True))
    expected = {name: line for name, line in expected.items() if not name.endswith(state_dict.COUNTER)}
    assert trained[kind].keys() == expected.keys()
    off = {name: np.abs(row(trained[kind][name]) - line).max() / line[0] for name, line in expected.items()}
    assert max(off.values()) < 1e-8


def test_losses_are_the_originals(trained, numbers):
    off = np.abs(np.array(trained["losses"]) / numbers["losses"] - 1)
    assert (off[:3] < 1e-8).all() and (off < 1e-3).all()
    off = np.abs(np.array(trained["terms"]) / numbers["terms"] - 1)
    assert (off[:2] < 1e-8).all() and (off < 1e-2).all()


def test_targets_are_the_originals(numbers):
    batch = make_batch(numbers)
    for head in (0, 1):
        maps = numbers[f"heatmaps{head}"].transpose(0, 2, 3, 1)
        with jax.enable_x64(True):
            draw = jax.jit(
                jax.vmap(lambda *labels, size=maps.shape[1:3]: targets.render(*labels, heatmap_size=size))
            )
            np.testing.assert_array_equal(draw(batch["joints"][:, head], batch["visible"]), maps)
