"""CPN: its properties, and in float64 its agreement with GengDavid's code."""

import functools
import json
import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from hrnet_jax import configuration, losses, models, optimizer, training
from hrnet_jax.compare import measured, problem
from hrnet_jax.models import cpn, layers
from hrnet_jax.tasks import top_down
from hrnet_jax.torch_interop import loading

SIZE = (128, 96)
WHOLE, PLAIN = "cpn50_128x96", "cpn50_plain_128x96"
NETWORKS = {tag: cpn.CPN(17, projection=tag == WHOLE, dtype=jnp.dtype("float64")) for tag in (WHOLE, PLAIN)}


def read(shared: pathlib.Path, tag: str) -> dict[str, np.ndarray]:
    with np.load(shared / f"conformance/cpn/net_{tag}.npz") as numbers:
        return dict(numbers)


def weights_of(tag: str) -> dict:
    return problem.draw_variables(models.shapes(NETWORKS[tag], SIZE))


def images(tag: str) -> np.ndarray:
    return problem.draw_images(tag, (2, 3, *SIZE))


def all_heatmaps(model, variables, image) -> list[np.ndarray]:
    """Returns the heatmaps of every level and of RefineNet, in evaluation mode."""
    last, kept = jax.jit(functools.partial(model.apply, mutable=["intermediates"]))(variables, image)
    return [np.asarray(x).transpose(0, 3, 1, 2) for x in (*kept["intermediates"]["heatmaps"], last)]


@pytest.mark.parametrize("tag", NETWORKS)
def test_names_and_shapes_are_the_references(shared, tag):
    keys = json.loads((shared / f"conformance/cpn/net_{tag}.keys.json").read_text())
    found = {
        ".".join(path): [leaf.shape[i] for i in (3, 2, 0, 1)] if len(leaf.shape) == 4 else list(leaf.shape)
        for tree in models.shapes(NETWORKS[tag].clone(dtype=jnp.float32), SIZE).values()
        for path, leaf in traverse_util.flatten_dict(tree).items()
    }
    assert found == {name: shape for name, shape in keys.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.long
@pytest.mark.parametrize("tag", NETWORKS)
def test_heatmaps_of_every_level_equal_the_reference(shared, tag):
    numbers = read(shared, tag)
    with jax.enable_x64(True):
        *of_levels, refined = all_heatmaps(NETWORKS[tag], weights_of(tag), images(tag))
    assert measured.deviation(refined, numbers["refine"]) < 1e-9
    for i, heatmaps in enumerate(of_levels):
        if tag == WHOLE:
            assert measured.deviation(heatmaps, numbers["global"][i]) < 1e-9
        else:
            samples = heatmaps.ravel()[np.linspace(0, heatmaps.size - 1, 16).astype(int)]
            found = np.array([heatmaps.mean(), heatmaps.std(), *samples])
            assert measured.deviation(found, numbers[f"tap/global.{i}"]) < 1e-9


def original(**changes):
    config = configuration.default("cpn")
    config.update_from_flattened_dict(
        {
            **{"image_size": SIZE, "model.original_targets": True, "loss": "ohkm", "model.norm_group_size": 0},
            **{"learning_rate": 5e-4, "weight_decay": 1e-5, **changes},
        }
    )
    return config


def train(tag: str, numbers: Mapping) -> tuple[list[float], dict, dict]:
    """Returns the losses before three steps, the gradients before the first and the state after two."""
    config = original()
    flags, joints = numbers["train/vis"], numbers["train/joints"]
    labels = (jnp.asarray(x) for x in (joints, (flags > 0) * 1.0, (flags > 1) * 1.0))
    targets, weights = top_down.make_target_fn(config)(*labels)
    loss = top_down.make_heatmap_loss(config, NETWORKS[tag])
    transformation = optimizer.make_transformation(config, lambda _: config.learning_rate)

    @jax.jit
    def differentiate(params, stats):
        return jax.value_and_grad(loss, has_aux=True)(params, stats, images(tag), targets, weights)

    state = training.init_state(weights_of(tag), transformation)
    values, gradients, states = [], [], []
    for _ in range(3):
        (value, (stats, _)), gradient = differentiate(state.params, state.batch_stats)
        state = training.update(state, gradient, stats, transformation)
        values.append(float(value))
        gradients.append(gradient)
        states.append(state)
    second = {"params": states[1].params, "batch_stats": states[1].batch_stats}
    return values, loading.to_pytorch({"params": gradients[0]}), loading.to_pytorch(second)


def assert_rows_equal(found: Mapping[str, np.ndarray], names: np.ndarray, rows: np.ndarray) -> None:
    """Compares norms and samples of tensors, relative to the norm where it is more than rounding noise."""
    assert set(names.tolist()) == found.keys()
    for name, row in zip(names.tolist(), rows, strict=True):
        ours = measured.sample(found[name], 8)
        difference = np.abs(np.array([ours.norm, *ours.samples]) - row[: 1 + len(ours.samples)]).max()
        assert difference < 1e-8 * max(row[0], 1e-6 * rows[:, 0].max()), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.weight_decay")  # as the reference
@pytest.mark.parametrize("tag", NETWORKS)
def test_losses_gradients_and_steps_equal_the_reference(shared, tag):
    numbers = read(shared, tag)
    with jax.enable_x64(True):
        values, gradients, state = train(tag, numbers)
    np.testing.assert_allclose(values, numbers["train/losses"], rtol=1e-8)
    assert_rows_equal(gradients, numbers["train/grad_names"], numbers["train/grads"])
    assert_rows_equal(state, numbers["train/after2_names"], numbers["train/after2"])


def predicted(numbers: Mapping[str, np.ndarray]) -> list[jax.Array]:
    """The reference's heatmaps, of every level and of RefineNet."""
    return [jnp.asarray(x.transpose(0, 2, 3, 1)) for x in (*numbers["global"], numbers["refine"])]


@pytest.mark.parametrize("loss", ["ohkm", "mse"])
def test_hidden_joints_are_silent_at_every_level_and_unlabelled_ones_do_not_count_in_the_last(
    narrow, monkeypatch, loss
):
    """The loss in its parts, from heatmaps that a network would give: as `conformance/cpn/README.md` says."""
    config = original(loss=loss, image_size=(64, 64))
    random, shape = np.random.default_rng(0), (2, 16, 16, 17)
    heatmaps = [jnp.asarray(50 * random.standard_normal(shape), jnp.float32) for _ in range(5)]
    monkeypatch.setattr(layers, "apply_in_training", lambda *_: (heatmaps, "stats"))
    joints = random.uniform(4, 60, (2, 17, 2)).astype(np.float32)
    flags = random.integers(0, 3, (2, 17))
    labels = [jnp.asarray(x, jnp.float32) for x in (joints, flags > 0, flags > 1)]
    targets, weights = top_down.make_target_fn(config)(*labels)
    for i, heatmap in enumerate(targets):
        shown = np.asarray(heatmap).max((1, 2)) > 0
        np.testing.assert_array_equal(shown, flags > (1 if i < 4 else 0))
    found, (stats, last) = top_down.make_heatmap_loss(config, narrow)({}, {}, None, targets, weights)
    of_levels = sum(np.square(h - t).mean() / 2 for h, t in zip(heatmaps[:4], targets[:4], strict=True))
    errors = np.square(np.asarray(heatmaps[4]) - targets[4]).mean((1, 2)) * (flags > 0)
    hardest = np.sort(errors, axis=1)[:, -8:].sum(1) / 8 if loss == "ohkm" else errors.mean(1)
    np.testing.assert_allclose(found, of_levels + hardest.mean(), rtol=1e-5)
    assert stats == "stats" and last is heatmaps[4]


@pytest.fixture
def narrow(shallow_resnet) -> cpn.CPN:
    """A CPN of a ResNet with few blocks and channels."""
    return cpn.CPN(5, stem=2, features=4)


def drawn(model, size=(64, 32)) -> tuple[dict, jax.Array]:
    """Returns float32 variables, and two images."""
    variables = jax.tree.map(np.float32, problem.draw_variables(models.shapes(model, size)))
    return variables, jnp.asarray(problem.draw_images("small", (2, 3, *size)), jnp.float32)


def test_every_level_learns_from_its_heatmaps_and_refine_net_predicts(narrow):
    variables, image = drawn(narrow)
    assert variables.keys() == {"params", "batch_stats"}
    arguments = [variables["params"], variables["batch_stats"], image]
    targets = tuple(jnp.full((2, 16, 8, 5), 0.1 * i, jnp.float32) for i in range(5))
    loss = top_down.make_heatmap_loss(configuration.default("cpn"), narrow)

    @jax.jit
    def run(*arguments):
        found, stats = layers.apply_in_training(narrow, variables, image)
        return found, stats, jax.value_and_grad(loss, has_aux=True)(*arguments, targets, jnp.ones((2, 5)))

    found, stats, ((total, (_, prediction)), gradients) = run(*arguments)
    assert [heatmaps.shape for heatmaps in found] == [(2, 16, 8, 5)] * 5
    assert jax.tree.structure(stats) == jax.tree.structure(variables["batch_stats"])
    np.testing.assert_allclose(prediction, found[4], rtol=1e-3, atol=1e-3)
    parts = [losses.mse(x, t, jnp.ones((2, 5))).mean() for x, t in zip(found, targets, strict=True)]
    np.testing.assert_allclose(total, sum(parts[:4]) + 2 * parts[4], rtol=1e-4)
    heads = [f"global_net.predict.{i}.5" for i in range(4)] + ["refine_net.final_predict.2"]
    assert all(np.abs(gradients[name]["weight"]).max() > 0 for name in heads)


def test_half_precision_keeps_heatmaps_and_statistics_in_float32_and_remat_changes_nothing(narrow):
    variables, image = drawn(narrow)
    again, half = narrow.clone(remat=True), narrow.clone(dtype=jnp.bfloat16)
    plain, remat = jax.jit(lambda x: (narrow.apply(x, image), again.apply(x, image)))(variables)
    np.testing.assert_allclose(remat, plain, rtol=1e-5, atol=1e-5)
    found = jax.eval_shape(functools.partial(layers.apply_in_training, half), variables, image)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(found)} == {"float32"}
    assert models.count_multiply_adds(narrow, (64, 32)) == models.count_multiply_adds(again, (64, 32))


@pytest.mark.parametrize(
    ("size", "new"), [((3, 2), (6, 4)), ((4, 3), (32, 24)), ((1, 1), (2, 2)), ((5, 4), (5, 4))]
)
def test_corners_stay_corners_when_features_are_enlarged(torch, size, new):
    with jax.enable_x64(True):
        x = np.random.default_rng(0).standard_normal((2, *size, 3))
        found = np.asarray(cpn.enlarge(jnp.asarray(x), new))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x.transpose(0, 3, 1, 2)), size=new, mode="bilinear", align_corners=True
    )
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), expected.numpy(), atol=1e-14)
    np.testing.assert_allclose(found[:, [0, -1]][:, :, [0, -1]], x[:, [0, -1]][:, :, [0, -1]], atol=1e-14)


def test_the_projects_targets_are_one_high_at_the_nearest_pixel(narrow):
    config = original(image_size=(64, 64))
    joints = jnp.asarray([[[21.9, 33.9]]], jnp.float32)
    labels = joints, *[jnp.ones((1, 1), jnp.float32)] * 2
    for changes, height, pixel in (({}, 255, (5, 8)), ({"model.original_targets": False}, 1, (5, 8))):
        config.update_from_flattened_dict(changes)
        found, _ = cpn.make_targets(config)(*labels)
        assert all(float(x.max()) == pytest.approx(height) for x in found)
        assert all(np.unravel_index(x.argmax(), (16, 16)) == pixel[::-1] for x in found)
    config.model.original_targets = False
    found, _ = cpn.make_targets(config)(labels[0] + 0.2, *labels[1:])
    assert np.unravel_index(found[-1].argmax(), (16, 16)) == (9, 6)  # 22.1 is nearest to pixel 6, and 34.1 to 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (250, 192)}, r"`image_size` \(=\(250, 192\)\) must be multiples of 32: nearest are"),
        ({"model.depth": 18}, r"`model.depth` \(=18\) must be one of 50, 101, 152"),
        ({"model.kernels": (15, 11, 9, 8)}, r"`model.kernels` \(=\(15, 11, 9, 8\)\) must be four odd numbers"),
        ({"model.kernels": (15, 11, 9)}, r"`model.kernels` \(=\(15, 11, 9\)\) must be four odd numbers"),
        ({"hardest_joints": 18}, r"`hardest_joints` \(=18\) is more than the 17 joints of .*give at most 17"),
        ({"heatmap.sigma": 3.0}, r"`heatmap.sigma` \(=3.0\) has no effect on CPN ResNet-50.*leave it at 2.0"),
        ({"heatmap.target": "my:own"}, r"`heatmap.target` \(='my:own'\) has no effect on CPN"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        top_down.TopDown(original(**changes))
