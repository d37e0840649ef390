"""HigherHRNet: its properties, and in float64 its agreement with the authors' code."""

import functools
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from hrnet_jax import models, training
from hrnet_jax.compare import measured, problem
from hrnet_jax.models import batch_norm, higher_hrnet, layers

NETWORKS = {
    "w32": higher_hrnet.HigherHRNet(17, width=32),
    "w48": higher_hrnet.HigherHRNet(17, width=48),
    "w32_crowdpose": higher_hrnet.HigherHRNet(14, width=32),
}
KEYS = {"w32": "w32_512", "w48": "w48_640", "w32_crowdpose": "w32_512_crowdpose"}
COUNTS = {  # parameters, and multiply-adds at 512x512 and 640x640, done and as published
    "w32": (28_645_331, (46.203, 72.193), (47.864, 74.788)),
    "w48": (63_827_139, (95.660, 149.469), (98.755, 154.305)),
    "w32_crowdpose": (28_641_962, None, None),
}
IMAGES = {"w32": (1, 3, 192, 256), "w48": (1, 3, 128, 64), "w32_crowdpose": (1, 3, 64, 96)}
WHOLE = (2, 3, 128, 128)
"""Shape of the images with a number for every pixel."""


@pytest.fixture(scope="module")
def numbers(shared) -> dict[str, np.ndarray]:
    with np.load(shared / "conformance/higher_hrnet/net.npz") as file:
        return dict(file)


def keys(shared: pathlib.Path, name: str) -> dict[str, list[int]]:
    return json.loads((shared / f"conformance/higher_hrnet/keys_{KEYS[name]}.json").read_text())


def run(name: str, shape: tuple[int, ...], tag: str, **options):
    """Applies a network in float64 to the reference's images, with its weights."""
    with jax.enable_x64(True):
        model = NETWORKS[name].clone(dtype=jnp.float64)
        variables = problem.draw_variables(models.shapes(model, shape[2:]))
        apply = functools.partial(model.apply, **options)
        found = jax.jit(apply)(variables, problem.draw_images(tag, shape))
        return jax.tree.map(lambda x: np.asarray(x).transpose(0, 3, 1, 2) if x.ndim == 4 else np.asarray(x), found)


def tag(name: str, shape: tuple[int, ...]) -> str:
    return f"higher_hrnet_{name}_{'x'.join(map(str, shape))}"


def summary(array: np.ndarray) -> np.ndarray:
    """Returns mean, standard deviation and samples of an array."""
    samples = array.ravel()[np.linspace(0, array.size - 1, 16).astype(int)]
    return np.array([array.mean(), array.std(), *samples])


def summaries(heatmaps: np.ndarray) -> np.ndarray:
    """Returns the summary of every channel."""
    return np.array([[summary(channel) for channel in image] for image in heatmaps])


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_those_of_the_release(shared, name):
    found = {
        ".".join(path): [leaf.shape[i] for i in (3, 2, 0, 1)] if len(leaf.shape) == 4 else list(leaf.shape)
        for tree in models.shapes(NETWORKS[name], (64, 64)).values()
        for path, leaf in traverse_util.flatten_dict(tree).items()
    }
    expected = keys(shared, name)
    assert len(expected) == 1810
    assert found == {key: shape for key, shape in expected.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_multiply_adds_are_the_published_ones(name):
    model, (parameters, done, published) = NETWORKS[name], COUNTS[name]
    assert models.count_parameters(model, (64, 64)) == parameters
    for expected, options in ((done, {"done": True}), (published, {})):
        per_tile = models.count_multiply_adds(model, (64, 64), **options)  # of convolutions alone
        if expected:
            assert tuple(round(per_tile * (side // 64) ** 2 / 1e9, 3) for side in (512, 640)) == expected


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_equal_the_reference(numbers, name):
    shape = IMAGES[name]
    outputs = run(name, shape, tag(name, shape))
    assert len(outputs) == 2
    for i, output in enumerate(outputs):
        expected = numbers[f"{name}/{'x'.join(map(str, shape))}/out{i}"]
        assert measured.deviation(summaries(output), expected) < 1e-9


@pytest.mark.long
def test_outputs_in_training_equal_the_reference(shared):
    outputs, _ = run("w32", WHOLE, "higher_hrnet_w32_train", train=True, mutable=["batch_stats"])
    with np.load(shared / "conformance/higher_hrnet/train_w32.npz") as expected:
        for i, output in enumerate(outputs):
            assert measured.deviation(summaries(output), expected[f"step0/out{i}"]) < 1e-9


def test_every_pixel_and_every_layer_equals_the_reference(numbers):
    options = {"mutable": ["intermediates"], "capture_intermediates": True}
    outputs, kept = run("w32", WHOLE, tag("w32", WHOLE), **options)
    for i, output in enumerate(outputs):
        assert measured.deviation(output, numbers[f"w32/2x3x128x128/out{i}"]) < 1e-9
    layers_of = traverse_util.flatten_dict(kept["intermediates"])
    found = {".".join(path[:-1]): value for path, (value,) in layers_of.items()}
    found["layer1"] = found["layer1.3"]
    found["deconv_layers.0.0.0"] = np.maximum(found["deconv_layers.0.0.1"], 0)
    taps = {key.removeprefix("w32/2x3x128x128/tap/"): x for key, x in numbers.items() if "/tap/" in key}
    assert len(taps) == 31
    for tap, expected in taps.items():
        module, _, i = tap.rpartition(".")
        output = found[tap] if tap.startswith("deconv") else found[module]
        output = output[int(i)] if isinstance(output, list) else output
        assert measured.deviation(summary(output), expected) < 1e-9, tap


SIZE = (64, 32)


def small(**changes) -> higher_hrnet.HigherHRNet:
    sizes = {"width": 4, "stem": 4, "units": (1, 1, 1), "blocks": 1}
    return higher_hrnet.HigherHRNet(**{"num_joints": 3, **sizes, **changes})


def drawn(model: higher_hrnet.HigherHRNet) -> tuple[dict, jax.Array]:
    """Returns float32 variables and four images."""
    variables = jax.tree.map(np.float32, problem.draw_variables(models.shapes(model, SIZE)))
    return variables, jnp.asarray(problem.draw_images("small", (4, 3, *SIZE)), jnp.float32)


@pytest.mark.parametrize("deconvolutions", [0, 1, 2])
def test_every_deconvolution_doubles_the_resolution_of_the_heatmaps(deconvolutions):
    model = small(deconvolutions=deconvolutions)
    variables, image = drawn(model)
    outputs = jax.eval_shape(model.apply, variables, image)
    expected = [(4, 16, 8, 6), (4, 32, 16, 3), (4, 64, 32, 3)]
    assert isinstance(outputs, tuple) and [x.shape for x in outputs] == expected[: deconvolutions + 1]
    layers_of = {name for name in variables["params"] if name.startswith(("final_layers.", "deconv_layers."))}
    heads = {f"final_layers.{i}" for i in range(deconvolutions + 1)}
    assert layers_of == heads | {f"deconv_layers.{i}" for i in range(deconvolutions)}
    inputs = [variables["params"][f"deconv_layers.{i}"]["0.0"]["weight"].shape[3] for i in range(deconvolutions)]
    assert inputs == [4 + 6, 4 + 3][:deconvolutions]


def test_a_deconvolution_reads_features_before_heatmaps_and_tags():
    model = small()
    variables, image = drawn(model)
    params, stats = variables["params"], variables["batch_stats"]
    block = higher_hrnet.Deconvolution(4)
    apply = jax.jit(functools.partial(model.apply, mutable=["intermediates"], capture_intermediates=True))
    (first, second), kept = apply(variables, image)
    ((features,),) = kept["intermediates"]["stage4.0"]["__call__"]
    part = {name: tree["deconv_layers.0"] for name, tree in (("params", params), ("batch_stats", stats))}
    enlarged = jax.jit(block.apply, static_argnums=2)(part, jnp.concatenate([features, first], axis=-1), False)
    head = params["final_layers.1"]
    expected = enlarged @ head["weight"][0, 0] + head["bias"].reshape(1, 1, 1, -1)
    np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_flows_through_the_first_output_into_the_second():
    model = small()
    variables, image = drawn(model)

    def finest(params):
        return jnp.square(model.apply({**variables, "params": params}, image)[-1]).mean()

    gradients = jax.jit(jax.grad(finest))(variables["params"])
    assert (np.abs(gradients["final_layers.0"]["weight"]).max((0, 1, 2)) > 0).all()
    assert np.abs(gradients["conv1"]["weight"]).max() > 0


def test_half_precision_keeps_outputs_and_statistics_in_float32():
    model = small(dtype=jnp.bfloat16, deconvolutions=2)
    variables, image = drawn(model)
    found = jax.eval_shape(functools.partial(layers.apply_in_training, model), variables, image)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(found)} == {"float32"}
    halves, wholes = (jax.jit(m.apply)(variables, image) for m in (model, model.clone(dtype=jnp.float32)))
    for half, whole in zip(halves, wholes, strict=True):
        error = jnp.sqrt(jnp.square(half - whole).mean() / jnp.square(whole).mean())
        assert 1e-5 < error < 3e-2


def test_remat_changes_nothing_but_memory():
    model = small()
    variables, image = drawn(model)
    again = model.clone(remat=True)

    def loss(model, params):
        return sum(jnp.square(x).mean() for x in model.apply({**variables, "params": params}, image))

    functions = [functools.partial(loss, m) for m in (model, again)]
    programs = [str(jax.make_jaxpr(function)(variables["params"])) for function in functions]
    assert [len(re.findall(r"= (?:remat|checkpoint)\w*\[", text)) for text in programs] == [0, 4]
    plain, remat = map(jax.value_and_grad, functions)
    for a, b in zip(*map(jax.tree.leaves, (jax.jit(f)(variables["params"]) for f in (plain, remat))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())
    assert models.count_multiply_adds(model, SIZE) == models.count_multiply_adds(again, SIZE)


def test_photos_are_normalized_in_groups():
    model = small(norm=batch_norm.Norm(group_size=2))
    variables, image = drawn(model)
    apply = jax.jit(lambda image: model.apply(variables, image, train=True, mutable=["batch_stats"])[0])
    for whole, first, second in zip(apply(image), apply(image[:2]), apply(image[2:]), strict=True):
        np.testing.assert_allclose(whole, np.concatenate([first, second]), rtol=1e-3, atol=1e-3)


def test_weights_start_as_the_originals():
    flat = traverse_util.flatten_dict(training.init_variables(small(width=16), SIZE, seed=0))
    assert ("params", "deconv_layers.0", "0.0", "weight") in flat
    for path, leaf in flat.items():
        if leaf.ndim == 4:
            assert abs(leaf.std() / 0.001 - 1) < 5 / leaf.size**0.5, path
        else:
            assert (leaf == (1 if path[-1] in ("weight", "running_var") else 0)).all(), path


@pytest.mark.parametrize("size", [(64, 80), (0, 64)])
def test_image_sides_must_be_multiples_of_32(size):
    with pytest.raises(ValueError, match=r"`image_size` \(=\(\d+, \d+\)\) must be multiples of 32: nearest are"):
        models.shapes(small(), size)


@pytest.mark.parametrize("deconvolutions", [-1, 3])
def test_heatmaps_finer_than_the_image_are_refused(deconvolutions):
    with pytest.raises(ValueError, match=rf"`model.deconvolutions` \(={deconvolutions}\) must be 0, 1 or 2"):
        small(deconvolutions=deconvolutions)
