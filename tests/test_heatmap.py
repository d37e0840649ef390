import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax import geometry, heatmap, skeletons

SETTINGS = [
    ("coco_64x48_s2", (64, 48), 2),
    ("coco_96x72_s3", (96, 72), 3),
    ("mpii_64x64_s2", (64, 64), 2),
    ("coco_64x48_s1", (64, 48), 1),
]


@pytest.fixture(scope="module")
def codec(shared) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "conformance/codec.npz"))


def nhwc(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 2, 3, 1)


def render(joints, visible, size, sigma, unbiased=False):
    image_size = tuple(4 * side for side in size)
    draw = jax.jit(
        lambda joints, visible: heatmap.render(
            joints, visible, image_size=image_size, heatmap_size=size, sigma=sigma, unbiased=unbiased
        )
    )
    return draw(joints.astype(np.float32), visible.astype(np.float32))


@pytest.mark.parametrize(("tag", "size", "sigma"), SETTINGS)
def test_targets_are_the_originals(codec, tag, size, sigma):
    heatmaps, weights = render(codec[f"target/{tag}/joints"], codec[f"target/{tag}/vis"], size, sigma)
    np.testing.assert_array_equal(heatmaps, nhwc(codec[f"target/{tag}/heatmaps"]))
    np.testing.assert_array_equal(weights, codec[f"target/{tag}/weight"][..., 0])


def test_unbiased_targets_are_those_of_dark(codec):
    tag = "target/coco_64x48_s2"
    heatmaps, weights = render(codec[f"{tag}/joints"], codec[f"{tag}/vis"], (64, 48), 2, unbiased=True)
    np.testing.assert_array_equal(weights, codec[f"dark/{tag}/weight"][..., 0])
    np.testing.assert_allclose(heatmaps, nhwc(codec[f"dark/{tag}/heatmaps"]), atol=1e-6)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("sigma", [1.5, 2, 3])
def test_a_target_is_a_gaussian_of_its_sigma(sigma, unbiased):
    maps, _ = render(np.array([[[40.0, 60.0]]]), np.ones((1, 1)), (32, 32), sigma, unbiased)
    y, x = np.mgrid[:32, :32]
    squared = (x - 10) ** 2 + (y - 15) ** 2
    near = np.maximum(np.abs(x - 10), np.abs(y - 15)) <= int(3 * sigma)
    expected = np.exp(-squared / (2 * sigma**2)) * (near | unbiased)
    np.testing.assert_allclose(maps[0, ..., 0], expected, rtol=1e-5, atol=1e-7)


def photo_joints(codec, pixels: np.ndarray) -> np.ndarray:
    """Maps heatmap pixels back to the photos."""
    pixels = np.asarray(pixels)
    return np.stack(
        [
            geometry.apply(geometry.invert(geometry.photo_to_crop(center, scale, 0, (64, 48))), joints)
            for center, scale, joints in zip(codec["decode/center"], codec["decode/scale"], pixels, strict=True)
        ]
    )


def test_peaks_are_the_originals(codec):
    pixels, scores = jax.jit(heatmap.peaks)(nhwc(codec["decode/heatmaps"]))
    np.testing.assert_array_equal(pixels, codec["decode/argmax_xy"])
    np.testing.assert_array_equal(scores, codec["decode/maxvals"][..., 0])


def test_quarter_pixel_predictions_are_the_originals(codec):
    pixels, scores = jax.jit(heatmap.decode)(nhwc(codec["decode/heatmaps"]))
    np.testing.assert_allclose(photo_joints(codec, pixels), codec["decode/preds"], atol=1e-3)
    np.testing.assert_array_equal(scores, codec["decode/maxvals"][..., 0])


def test_dark_predictions_are_those_of_its_authors(codec):
    pixels, _ = jax.jit(heatmap.decode, static_argnums=1)(nhwc(codec["decode/heatmaps"]), "dark")
    np.testing.assert_allclose(photo_joints(codec, pixels)[1:], codec["dark/preds_people_1_to_5"], atol=1e-3)


@pytest.mark.parametrize("method", sorted(heatmap.DECODERS.keys() - {"cpn"}))  # see test_cpn_codec.py
def test_decoding_survives_heatmaps_without_a_peak(method):
    maps = np.zeros((1, 16, 12, 3), np.float32)
    maps[..., 1] = -1
    maps[..., 2] = 1
    pixels, scores = heatmap.decode(jnp.asarray(maps), method)
    np.testing.assert_array_equal(pixels, np.zeros((1, 3, 2)))
    np.testing.assert_array_equal(scores, [[0, -1, 1]])


def test_dark_smooths_as_opencv_with_a_kernel_of_eleven_pixels():
    maps = np.random.default_rng(0).uniform(0, 1, (1, 32, 24, 2)).astype(np.float32) ** 8
    padded = np.pad(maps[0], ((11, 11), (11, 11), (0, 0)))  # the authors' border is black
    blurred = cv2.GaussianBlur(padded, (11, 11), 0)[11:-11, 11:-11]
    expected = blurred * maps[0].max((0, 1)) / blurred.max((0, 1))
    np.testing.assert_allclose(heatmap._smooth(jnp.asarray(maps))[0], expected, rtol=1e-5, atol=1e-7)


def test_dark_finds_the_centre_of_a_slanted_gaussian():
    y, x = np.mgrid[:32, :24]
    offset = np.stack([x - 11.6, y - 15.3], -1)
    inverse = np.linalg.inv([[8.0, 5.0], [5.0, 8.0]])
    maps = np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", offset, inverse, offset)).astype(np.float32)
    pixels, _ = heatmap.decode(jnp.asarray(maps[None, ..., None]), "dark")
    np.testing.assert_allclose(pixels[0, 0], [11.6, 15.3], atol=0.02)


@pytest.mark.parametrize("column", [1, 2, 9, 10])
def test_dark_leaves_peaks_of_the_two_outer_columns_on_their_pixel(column):
    y, x = np.mgrid[:16, :12]
    maps = np.exp(-((x - column - 0.3) ** 2 + (y - 8) ** 2) / 8).astype(np.float32)
    pixels, _ = heatmap.decode(jnp.asarray(maps[None, ..., None]), "dark")
    assert (pixels[0, 0, 0] != column) == (1 < column < 10)


@pytest.mark.parametrize(("shift", "name"), [(0, "flip_back"), (1, "flip_back_shifted")])
def test_flipping_is_the_originals(codec, shift, name):
    maps = nhwc(codec["decode/heatmaps"])[: len(codec[f"decode/{name}"])]
    flipped = heatmap.flip(jnp.asarray(maps), skeletons.COCO.flip_order, shift)
    np.testing.assert_array_equal(flipped, nhwc(codec[f"decode/{name}"]))


def test_a_shift_of_three_quarters_of_a_pixel_aligns_a_mirrored_image():
    joints = np.random.default_rng(0).uniform(40, 80, (4, 3, 2)).astype(np.float32)
    mirrored = joints.copy()
    mirrored[..., 0] = 127 - joints[..., 0]
    maps, _ = render(mirrored, np.ones((4, 3)), (32, 32), 2, unbiased=True)
    for shift, bias in ((0, -0.75), (0.75, 0), (1, 0.25)):
        found, _ = heatmap.decode(heatmap.flip(maps, np.arange(3), shift), "dark")
        np.testing.assert_allclose((found - joints / 4)[..., 0], bias, atol=0.03)


def test_pck_is_the_originals(codec):
    accuracy = jax.jit(heatmap.pck)(nhwc(codec["decode/heatmaps"]), nhwc(codec["pck/target"]))
    np.testing.assert_allclose(accuracy, codec["pck/avg"], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma", [1.5, 2, 3])
def test_dark_recovers_the_joints_of_unbiased_targets(seed, sigma):
    random = np.random.default_rng(seed)
    joints = (random.uniform(0.3, 0.7, (4, 9, 2)) * [128, 192]).astype(np.float32)
    maps, _ = render(joints, np.ones((4, 9)), (48, 32), sigma, unbiased=True)
    pixels, scores = heatmap.decode(maps, "dark")
    np.testing.assert_allclose(4 * pixels, joints, atol=0.02)
    assert (scores > np.exp(-0.25 / sigma**2) - 1e-6).all()


def test_the_quarter_pixel_shift_moves_toward_the_ground_truth():
    joints = np.random.default_rng(0).uniform(40, 80, (4, 9, 2)).astype(np.float32)
    maps, _ = render(joints, np.ones((4, 9)), (32, 32), 2, unbiased=True)
    error = {m: np.abs(4 * np.asarray(heatmap.decode(maps, m)[0]) - joints).mean() for m in ("argmax", "quarter")}
    assert error["quarter"] < 0.6 * error["argmax"]


def test_invisible_joints_are_not_rendered():
    maps, weights = render(np.full((1, 2, 2), 32.0), np.array([[0, 1]]), (16, 16), 2)
    assert maps[..., 0].max() == 0 and maps[..., 1].max() == 1
    np.testing.assert_array_equal(weights, [[0, 1]])


def test_an_unknown_decoder_is_rejected():
    with pytest.raises(ValueError, match=r"'softargmax'.*argmax, quarter, dark"):
        heatmap.decode(jnp.zeros((1, 4, 4, 1)), "softargmax")


def test_a_window_that_ends_at_the_border_has_weight_one_and_renders_nothing():
    """The original's window extends one pixel further at the left and top than at the right and bottom."""
    left, right = [-34, -30, -28], [210, 214]  # centres at -8, -7, -6 and 53, 54 of 48 columns
    joints = np.array([[[x, 128] for x in (*left, *right)]], float)
    maps, weights = render(joints, np.ones((1, 5)), (64, 48), 2)
    np.testing.assert_array_equal(weights, [[0, 1, 1, 1, 0]])
    np.testing.assert_array_equal(np.asarray(maps).max((1, 2)) > 0, [[False, False, True, True, False]])


def test_negative_centres_are_rounded_toward_zero():
    maps, _ = render(np.array([[[-3.0, 20.0], [-2.0, 20.0]]]), np.ones((1, 2)), (16, 16), 2)
    np.testing.assert_array_equal(maps[..., 0], maps[..., 1])  # -0.25 and 0: both centres are column 0
    assert np.asarray(maps)[0, 5, 0, 0] == 1


@pytest.mark.parametrize("column", [0, 1, 2, 9, 10, 11])
def test_peaks_in_the_first_two_columns_or_the_last_stay_on_their_pixel(column):
    moves = 1 < column < 11
    maps = np.zeros((1, 16, 12, 1), np.float32)
    maps[0, 8, max(column - 1, 0)] = 0.5
    maps[0, 8, column] = 1
    pixels, _ = heatmap.decode(jnp.asarray(maps), "quarter")
    np.testing.assert_array_equal(pixels[0, 0], [column - 0.25 * moves, 8])


def test_the_quarter_pixel_shift_does_not_depend_on_the_slope():
    maps = np.zeros((1, 16, 12, 1), np.float32)
    maps[0, 8, 5:8, 0] = (0.5, 1, 0.5 + 1e-6)
    pixels, _ = heatmap.decode(jnp.asarray(maps), "quarter")
    np.testing.assert_array_equal(pixels[0, 0], [6.25, 8])  # y has no higher neighbour


def test_pck_scales_x_by_the_height_and_excludes_the_border():
    def spikes(*places: tuple[int, int]) -> jnp.ndarray:
        maps = np.zeros((1, 64, 48, len(places)), np.float32)
        for joint, (x, y) in enumerate(places):
            maps[0, y, x, joint] = 1
        return jnp.asarray(maps)

    assert heatmap.pck(spikes((23, 20)), spikes((20, 20))) == 1  # 3 pixels; the limit in x is 3.2
    assert heatmap.pck(spikes((23, 21)), spikes((20, 20))) == 0  # together .513 of a tenth, the limit is .5
    assert heatmap.pck(spikes((20, 22)), spikes((20, 20))) == 1
    assert heatmap.pck(spikes((20, 23)), spikes((20, 20))) == 0  # the limit in y is 2.4
    assert heatmap.pck(spikes((20, 20), (40, 40)), spikes((20, 20), (1, 20))) == 1
