"""UDP against numbers of the authors' code.

``udp.npz`` was computed by their repository (HuangJunJie2017/UDP-Pose, branch master, its copy of the HRNet code;
numpy 1.23, OpenCV 4.8, PyTorch, float64) on made-up data: a photo of waves with four boxes at several angles,
joints in and outside the crop, and blobs with noise as heatmaps, some with their peak at the border, one empty.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax import codecs, geometry, udp

SIZE, HEATMAP = (64, 48), (16, 12)
KINDS = {"udp": "gaussian", "udp_offset": "offset", "udp_offset_v1": "offset_v1"}


@pytest.fixture(scope="module")
def theirs() -> dict[str, np.ndarray]:
    return dict(np.load(pathlib.Path(__file__).with_name("udp.npz")))


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array.astype(np.float64), -3, -1)


def heatmaps(theirs: dict[str, np.ndarray], kind: str) -> np.ndarray:
    return nhwc(theirs[f"heatmaps/{kind.removesuffix('_v1')}"])


@pytest.mark.parametrize("person", range(4))
def test_crops_are_the_authors(theirs, person):
    where = (theirs["center"][person], theirs["scale"][person], theirs["rotation"][person], SIZE)
    crop, matrix = geometry.extract(theirs["photo"], *where, by_corners=True)
    np.testing.assert_array_equal(crop, theirs["crops"][person])
    np.testing.assert_array_equal(geometry.crop_to_photo(*where).astype(np.float32), theirs["to_photo"][person])
    found = geometry.apply(matrix, theirs["joints"][person])
    np.testing.assert_allclose(found, theirs["mapped"][person], atol=1e-10)


@pytest.mark.parametrize("codec", KINDS)
def test_targets_are_the_authors(theirs, codec):
    with jax.enable_x64(True):
        joints, visible = jnp.asarray(theirs["at"][None]), jnp.asarray(theirs["visible"][None])
        render = codecs.find(codec).render
        maps, weights = render(joints, visible, image_size=SIZE, heatmap_size=HEATMAP, sigma=2)  # type: ignore[misc]
    np.testing.assert_allclose(maps[0], nhwc(theirs[f"target/{KINDS[codec]}"]), atol=2e-7)  # theirs are of float32
    np.testing.assert_array_equal(weights[0], theirs[f"weight/{KINDS[codec]}"])


@pytest.mark.parametrize("codec", KINDS)
def test_joints_are_the_authors(theirs, codec):
    rows = zip(theirs["center"][:3], theirs["scale"][:3], strict=True)
    matrices = np.stack([geometry.invert(geometry.crop_to_photo(*row, 0.0, SIZE)) for row in rows])
    with jax.enable_x64(True):
        maps = jnp.asarray(heatmaps(theirs, KINDS[codec]))
        joints, scores = codecs.decode_in_photo(maps, jnp.asarray(matrices), SIZE, decoder="quarter", codec=codec)
    np.testing.assert_allclose(joints, theirs[f"in_photo/{KINDS[codec]}"], atol=1e-9)
    np.testing.assert_allclose(scores, theirs[f"score/{KINDS[codec]}"], atol=1e-12)


@pytest.mark.parametrize("codec", ["udp", "udp_offset"])
def test_mirrored_heatmaps_are_the_authors(theirs, codec):
    maps = jnp.asarray(heatmaps(theirs, KINDS[codec]), jnp.float32)
    found = codecs.find(codec).flip(maps, np.array([1, 0, 2, 3]), 1.0)
    np.testing.assert_array_equal(found, nhwc(theirs[f"flipped/{KINDS[codec]}"]))


def test_the_loss_of_offsets_and_its_gradient_are_the_authors(theirs):
    with jax.enable_x64(True):
        maps = jnp.asarray(heatmaps(theirs, "offset")[:2])
        targets = jnp.asarray(nhwc(theirs["target/offset"].reshape(2, 12, *HEATMAP)))
        weights = jnp.asarray(theirs["weight/offset"].reshape(2, 4) * np.array([1.5, 1, 0.5, 1.2]))
        loss, gradient = jax.value_and_grad(lambda x: udp.offset_loss(x, targets, weights).mean())(maps)
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-12)
    np.testing.assert_allclose(gradient, nhwc(theirs["gradient"]), atol=1e-9)  # theirs is stored in float32


def test_flat_heatmaps_have_their_joint_at_a_pixel():
    """There, the authors divide by zero."""
    for value in (0.0, 1.0):
        joints, scores = udp.decode(jnp.full((1, 8, 6, 1), value, jnp.float32))
        np.testing.assert_array_equal(joints, np.zeros((1, 1, 2)))
        np.testing.assert_array_equal(scores, [[value]])
