import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from flax import linen as nn
from flax import traverse_util

from configs import default
from hrnet_jax import models
from hrnet_jax.models import batch_norm, cpn, hourglass, hrnet, layers, simple_baseline

pytestmark = pytest.mark.usefixtures("optimized")

# Counted by the authors' code. Their tables round some of these numbers down.
PUBLISHED = [
    (hrnet.HRNet(17, width=32), (256, 192), 28_536_113, 7.120),
    (hrnet.HRNet(17, width=32), (384, 288), 28_536_113, 16.020),
    (hrnet.HRNet(17, width=48), (256, 192), 63_595_745, 14.614),
    (hrnet.HRNet(17, width=48), (384, 288), 63_595_745, 32.882),
    (simple_baseline.SimpleBaseline(17, 50), (256, 192), 33_999_697, 8.991),
    (simple_baseline.SimpleBaseline(17, 50), (384, 288), 33_999_697, 20.230),
    (simple_baseline.SimpleBaseline(17, 101), (256, 192), 52_991_825, 12.378),
    (simple_baseline.SimpleBaseline(17, 101), (384, 288), 52_991_825, 27.850),
    (simple_baseline.SimpleBaseline(17, 152), (256, 192), 68_635_473, 15.765),
    (simple_baseline.SimpleBaseline(17, 152), (384, 288), 68_635_473, 35.470),
    (simple_baseline.SimpleBaseline(16, 50), (256, 256), 33_999_440, 11.987),
    (simple_baseline.SimpleBaseline(16, 50), (384, 384), 33_999_440, 26.971),
    (simple_baseline.SimpleBaseline(16, 101), (256, 256), 52_991_568, 16.503),
    (simple_baseline.SimpleBaseline(16, 101), (384, 384), 52_991_568, 37.132),
    (simple_baseline.SimpleBaseline(16, 152), (256, 256), 68_635_216, 21.019),
    (simple_baseline.SimpleBaseline(16, 152), (384, 384), 68_635_216, 47.292),
    (hourglass.StackedHourglass(17), (256, 192), 25_437_960, 19.178),
    (hourglass.StackedHourglass(17, residual_before_head=False), (256, 256), 23_721_736, 19.070),
    (hourglass.StackedHourglass(16, stem_features=(64, 128, 256)), (256, 256), 25_594_624, 26.165),
    (cpn.CPN(17), (256, 192), 27_010_538, 6.734),
    (cpn.CPN(17), (384, 288), 27_010_538, 15.152),
    (cpn.CPN(17, projection=True), (256, 192), 27_406_826, 6.813),
    (cpn.CPN(17, depth=101), (256, 192), 46_002_666, 10.121),
    (cpn.CPN(17, depth=101, projection=True), (256, 192), 46_398_954, 10.200),
]


@pytest.mark.long
@pytest.mark.parametrize(("model", "image_size", "parameters", "giga"), PUBLISHED)
def test_parameters_and_multiply_adds_are_the_published_ones(model, image_size, parameters, giga):
    assert models.count_parameters(model, image_size) == parameters
    assert round(models.count_multiply_adds(model, image_size) / 1024**3, 3) == giga


def test_remat_leaves_multiply_adds_unchanged():
    model = hrnet.HRNet(num_joints=5, width=8, units=(1, 1, 1), blocks=1)
    plain = models.count_multiply_adds(model, (64, 64))
    assert models.count_multiply_adds(model.clone(remat=True), (64, 64)) == plain


NETWORKS = {
    "hrnet_w32": hrnet.HRNet(17, width=32),
    "hrnet_w48": hrnet.HRNet(17, width=48),
    "resnet50": simple_baseline.SimpleBaseline(17, depth=50),
    "resnet152": simple_baseline.SimpleBaseline(17, depth=152),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_names_and_shapes_are_those_of_the_release(shared, name):
    keys = json.loads((shared / f"conformance/net_{name}_256x192.keys.json").read_text())
    variables = models.shapes(NETWORKS[name], (256, 192))
    ours = {}
    for collection in variables.values():
        for path, leaf in traverse_util.flatten_dict(collection).items():
            shape = leaf.shape
            ours[".".join(path)] = [shape[3], shape[2], *shape[:2]] if len(shape) == 4 else list(shape)
    assert ours == {key: shape for key, shape in keys.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", NETWORKS)
def test_heatmaps_in_float32(shared, name):
    expected = np.load(shared / f"conformance/net_{name}_256x192.npz")
    model = NETWORKS[name]
    variables = reference.seeded_variables(models.shapes(model, (256, 192)), np.float32)
    images = reference.seeded_images(f"{name}_256x192").astype(np.float32)
    heatmaps = np.asarray(jax.jit(model.apply)(variables, images))
    reference_heatmaps = expected["heatmaps"].transpose(0, 2, 3, 1)
    error = np.abs(heatmaps - reference_heatmaps).max()
    assert error <= 3 * expected["float32_rel_err"] * np.abs(reference_heatmaps).max()


def small(**changes) -> hrnet.HRNet:
    return hrnet.HRNet(**{"num_joints": 5, "width": 8, "units": (1, 1, 1), "blocks": 1, **changes})


def small_variables(model: hrnet.HRNet, size=(64, 64)) -> dict:
    return reference.seeded_variables(models.shapes(model, size), np.float32)


def test_shapes_are_traced_once_and_callers_get_a_copy():
    calls = []

    def count(call, args, kwargs, context):
        calls.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(count):
        first = models.shapes(hrnet.HRNet(3, width=5, stem=5, units=(1, 1, 1), blocks=1), (64, 32))
        assert calls
        calls.clear()
        first["params"].clear()
        again = models.shapes(hrnet.HRNet(3, width=5, stem=5, units=(1, 1, 1), blocks=1), (64, 32))
    assert not calls and again["params"]["final_layer"]["weight"].shape == (1, 1, 5, 3)


def test_bfloat16_keeps_parameters_statistics_and_head_in_float32():
    model = small(dtype=jnp.bfloat16)
    variables = models.shapes(model, (64, 64))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    image = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype(np.float32)
    weights = small_variables(model)
    half, updates = jax.jit(lambda v, x: model.apply(v, x, True, mutable=["batch_stats"]))(weights, image)
    assert half.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("float32")}
    evaluated = jax.jit(model.apply)(weights, image)
    full = jax.jit(small().apply)(weights, image)
    error = jnp.sqrt(jnp.square(evaluated - full).mean() / jnp.square(full).mean())
    assert 1e-5 < error < 3e-2


def test_remat_leaves_heatmaps_unchanged():
    image = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype(np.float32)
    plain, remat = small(), small(remat=True)
    variables = small_variables(plain)
    assert jax.tree.structure(models.shapes(remat, (64, 64))) == jax.tree.structure(variables)
    np.testing.assert_allclose(
        jax.jit(remat.apply)(variables, image), jax.jit(plain.apply)(variables, image), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("image_size", [(250, 190), (0, 32), (256, 200)])
def test_image_size_must_fit(image_size):
    with pytest.raises(ValueError, match=r"`image_size` .* must be multiples of 32: nearest are"):
        layers.check_image_size(image_size)


def test_image_size_error_names_the_nearest():
    with pytest.raises(ValueError, match=r"nearest are \(256, 192\)"):
        layers.check_image_size((250, 190))


def test_build_follows_the_configuration():
    config = default.get_config()
    config.model.width = 48
    config.model.dtype = "bfloat16"
    config.model.norm_group_size = 32
    model = models.build(config)
    assert (model.width, model.dtype, model.norm) == (48, jnp.bfloat16, batch_norm.Norm(group_size=32))
    assert (model.remat, model.colors) == (False, "RGB")
    config.model.update(norm_group_size=0, norm_frozen=True, remat=True, colors="BGR")
    model = models.build(config)
    assert (model.norm, model.remat, model.colors) == (batch_norm.Norm(frozen=True), True, "BGR")
    config.model.dtype = "float8"
    with pytest.raises(ValueError, match="float8"):
        models.build(config)


def test_networks_read_the_colours_of_the_release():
    assert (hrnet.HRNet.colors, simple_baseline.SimpleBaseline.colors) == ("RGB", "BGR")


@pytest.mark.parametrize("change", [{"name": "alexnet"}, {"colors": "GBR"}, {"dtype": "float8"}])
def test_unknown_choices_are_rejected(change):
    config = default.get_config()
    config.model.update(change)
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=rf"`model\.{name}` \(='{value}'\) must be one of"):
        models.build(config)


def test_an_unknown_depth_is_rejected():
    config = default.get_config()
    config.model = default.get_config("simple_baseline").model
    config.model.depth = 34
    with pytest.raises(ValueError, match=r"`model\.depth` \(=34\) must be one of 50, 101, 152"):
        models.build(config)


def test_simple_baseline_in_bfloat16_and_with_remat():
    model = simple_baseline.SimpleBaseline(3, 50)
    image = np.random.default_rng(0).standard_normal((2, 64, 32, 3)).astype(np.float32)
    variables = small_variables(model, (64, 32))
    plain, remat, half = (
        jax.jit(m.apply)(variables, image)
        for m in (model, model.clone(remat=True), model.clone(dtype=jnp.bfloat16))
    )
    assert plain.shape == (2, 16, 8, 3) and half.dtype == jnp.float32
    np.testing.assert_allclose(remat, plain, rtol=1e-5, atol=1e-5)
    error = jnp.sqrt(jnp.square(half - plain).mean() / jnp.square(plain).mean())
    assert 1e-5 < error < 5e-2
