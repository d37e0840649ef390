import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from hrnet_jax import codecs, configuration, convert, geometry, models
from hrnet_jax.tasks import top_down
from hrnet_jax.torch_interop import loading
from hrnet_jax.torch_interop.state_dict import Weights

SIZE, HEATMAP = (128, 96), (32, 24)
JOINTS = np.array([[[30.0, 41.5], [63.3, 100.2], [50.9, 60.4]]], np.float32)
WITH_TARGETS = [name for name, codec in codecs.CODECS.items() if codec.render]


def draw(codec: str, joints: np.ndarray):
    render = codecs.find(codec).render
    assert render is not None
    visible = np.ones(joints.shape[:2], np.float32)
    return render(jnp.asarray(joints), visible, image_size=SIZE, heatmap_size=HEATMAP, sigma=2.0)[0]


@pytest.mark.parametrize("codec", WITH_TARGETS)
def test_a_codec_finds_the_joints_that_it_draws(codec):
    matrix = np.array([[[0.5, 0.1, -20], [-0.1, 0.5, 30]]], np.float32)
    found, _ = codecs.decode_in_photo(draw(codec, JOINTS), jnp.asarray(matrix), SIZE, decoder="", codec=codec)
    in_crop = geometry.apply(matrix[0].astype(float), np.asarray(found[0], float))
    np.testing.assert_allclose(in_crop, JOINTS[0], atol=0.5)


@pytest.mark.parametrize("codec", [name for name in WITH_TARGETS if codecs.find(name).by_corners])
def test_heatmaps_of_a_mirrored_crop_lie_on_those_of_the_crop(codec):
    order = np.array([1, 0, 2])
    mirrored = JOINTS[:, order] * [-1, 1] + [SIZE[1] - 1, 0]
    found = codecs.find(codec).flip(draw(codec, mirrored.astype(np.float32)), order, 1.0)
    np.testing.assert_allclose(found, draw(codec, JOINTS), atol=1e-5)


def test_the_original_mirrors_with_a_shift():
    maps = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 4, 6, 2)), jnp.float32)
    found = codecs.find("original").flip(maps, np.array([1, 0]), 1.0)
    np.testing.assert_array_equal(found[:, :, 1:], maps[:, :, :0:-1, ::-1])


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_corners_of_the_crop_are_corners_of_the_box(rotation):
    center, scale = np.array([50.0, 70.0]), np.array([0.3, 0.4])
    matrix = geometry.crop_to_photo(center, scale, rotation, SIZE)
    corners = np.array([[0, 0], [SIZE[1] - 1, 0], [0, SIZE[0] - 1], [SIZE[1] - 1, SIZE[0] - 1]])
    sides = geometry.apply(matrix, corners) - center
    np.testing.assert_allclose(np.linalg.norm(sides, axis=1), np.hypot(30, 40), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(sides[1] - sides[0]), 60, atol=1e-9)
    above = geometry.apply(geometry.invert(matrix), center - np.array([0, 10.0]))
    assert np.sign(np.round(above[0] - (SIZE[1] - 1) / 2, 6)) == np.sign(rotation)  # to the right: clockwise


def config(**changes):
    found = configuration.default()
    found.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1)
    found.image_size = (64, 64)
    found.update_from_flattened_dict(changes)
    return found


@pytest.mark.parametrize(
    ("codec", "field", "value"),
    [
        ("dark", "eval.decoder", "argmax"),
        ("dark", "heatmap.unbiased", True),
        ("udp", "eval.decoder", "dark"),
        ("udp", "eval.flip_shift", 0.75),
        ("udp", "heatmap.target", "observed:full_targets"),
        ("udp_offset", "loss", "ohkm"),
    ],
)
def test_half_a_codec_is_refused(codec, field, value):
    with pytest.raises(ValueError, match=f"`{field}` .*contradicts `codec` .*{codec}.*leave it out"):
        top_down.TopDown(config(**{"codec": codec, field: value}))


@pytest.mark.parametrize("codec", ["dark", "udp", "udp_offset"])
def test_a_network_with_targets_of_its_own_has_no_other_codec(codec):
    config = default.get_config("cpn")
    config.codec = codec
    with pytest.raises(
        ValueError, match=rf"`codec` \(='{codec}'\) is not for CPN ResNet-50.*leave it at 'original'"
    ):
        top_down.TopDown(config)


def test_an_unknown_codec_is_refused():
    with pytest.raises(ValueError, match=r"`codec` .*must be one of original, dark, udp, udp_offset"):
        top_down.TopDown(config(codec="best"))


MINE = dataclasses.replace(codecs.CODECS["udp"], by_corners=False)


def test_a_codec_may_be_of_the_user():
    assert codecs.find("test_codecs:MINE") == MINE
    with pytest.raises(ValueError, match="must be a Codec"):
        codecs.find("test_codecs:SIZE")


def test_a_network_with_offsets_predicts_three_heatmaps_of_each_joint():
    found = config(codec="udp_offset")
    shapes = models.shapes(models.build(found), (64, 64))["params"]
    assert shapes["final_layer"]["weight"].shape[-1] == 3 * 17
    assert models.describe(found)["codec"] == "udp_offset" and "codec" not in models.describe(config())
    built = loading.build(models.describe(found))
    assert models.shapes(built, (64, 64))["params"]["final_layer"]["weight"].shape[-1] == 3 * 17


@pytest.mark.parametrize(("trained", "used"), [("udp", "original"), ("original", "udp"), ("udp", "udp_offset")])
def test_weights_of_another_codec_are_refused(trained, used):
    there, here = (models.describe(config(codec=name)) for name in (trained, used))
    variables = top_down.TopDown(config(codec=used)).init()
    weights = Weights("x.pth", loading.to_pytorch(variables), there)
    with pytest.raises(ValueError, match=f"trained with codec '{trained}', and '{used}' would misread it"):
        loading.initialize(variables, weights, here)
    if (trained, used) != ("udp", "udp_offset"):
        loading.initialize(variables, weights, here, allow_missing=("final_layer.",))  # to start training from


def test_files_do_not_name_codecs_to_import():
    description = models.describe(config(codec="udp")) | {"codec": "os:path"}
    with pytest.raises(ValueError, match="codec 'os:path', which is none of"):
        loading.build(description)


@pytest.mark.parametrize(("trained", "given"), [("original", "udp"), ("udp", "udp_offset"), ("udp", "dark")])
def test_the_codec_of_our_weights_is_not_another(trained, given):
    weights = Weights("w", {}, models.describe(config(codec=trained)))
    with pytest.raises(ValueError, match=rf"--codec \(={given}\) must be {trained}, that of 'w'"):
        convert.load(weights, codec=given)


def test_our_weights_of_a_codec_of_the_user_are_not_converted():
    weights = Weights("w", {}, models.describe(config()) | {"codec": "test_codecs:MINE"})
    with pytest.raises(ValueError, match=r"codec 'test_codecs:MINE', which is none of .*: use eval.py"):
        convert.load(weights)
