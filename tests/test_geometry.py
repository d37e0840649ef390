import cv2
import numpy as np
import pytest

from hrnet_jax import geometry

SEEDS = range(5)


def random_crop(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a crop matrix and points in the photo."""
    rng = np.random.default_rng(seed)
    box = np.concatenate([rng.uniform(-50, 500, 2), rng.uniform(1, 400, 2)])
    center, scale = geometry.box_to_center_scale(box, 192 / 256)
    return geometry.photo_to_crop(center, scale, rng.uniform(-90, 90), (256, 192)), rng.uniform(0, 640, (7, 2))


@pytest.fixture(scope="module")
def reference(shared):
    return np.load(shared / "conformance" / "geometry.npz")


def test_boxes_give_the_originals_centres_and_scales_to_the_last_bit(reference):
    found = [geometry.box_to_center_scale(box, 192 / 256) for box in reference["box/xywh"]]
    center, scale = map(np.stack, zip(*found, strict=True))
    assert center.dtype == scale.dtype == np.float32
    np.testing.assert_array_equal(center, reference["box/center"])
    np.testing.assert_array_equal(scale, reference["box/scale"])


@pytest.mark.parametrize("image_size", [(256, 192), (384, 288), (256, 256)])
def test_crop_matrices_are_the_originals(reference, image_size):
    found = [
        geometry.photo_to_crop(center, scale, rotation, image_size)
        for center, scale, rotation in zip(
            reference["affine/center"], reference["affine/scale"], reference["affine/rot"], strict=True
        )
    ]
    expected = reference[f"affine/forward_{image_size[1]}x{image_size[0]}"]
    # Allows for the last bit of other processors. A misplaced rounding to float32 is an error of 1e-8 or more.
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-10)


def test_inverse_heatmap_matrices_are_the_originals(reference):
    found = [
        geometry.invert(geometry.photo_to_crop(center, scale, 0, (64, 48)))
        for center, scale in zip(reference["affine/center"], reference["affine/scale"], strict=True)
    ]
    np.testing.assert_allclose(found, reference["affine/inverse_48x64"], rtol=1e-12, atol=1e-10)


def test_the_inverse_from_the_same_points_is_that_of_inverting(reference):
    for center, scale in zip(reference["affine/center"], reference["affine/scale"], strict=True):
        found = geometry.inverse_photo_to_crop(center, scale, 30.0, (64, 48))
        expected = geometry.invert(geometry.photo_to_crop(center, scale, 30.0, (64, 48)))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_invert_undoes_a_map(seed):
    matrix, points = random_crop(seed)
    there = geometry.apply(matrix, points)
    np.testing.assert_allclose(geometry.apply(geometry.invert(matrix), there), points, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_compose_applies_the_first_map_then_the_second(seed):
    first, points = random_crop(seed)
    second, _ = random_crop(seed + 100)
    np.testing.assert_allclose(
        geometry.apply(geometry.compose(first, second), points),
        geometry.apply(second, geometry.apply(first, points)),
        atol=1e-9,
    )


def test_mirror_takes_the_first_column_to_the_last_and_back():
    mirror = geometry.mirror(640)
    np.testing.assert_array_equal(geometry.apply(mirror, np.array([[0.0, 5.0], [639.0, 7.0]])), [[639, 5], [0, 7]])
    np.testing.assert_array_equal(geometry.compose(mirror, mirror), [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("box", [(10, 20, 30, 200), (10, 20, 200, 30)])
def test_a_padded_box_fills_the_crop_and_keeps_its_shape(box):
    center, scale = geometry.box_to_center_scale(np.array(box), 192 / 256)
    matrix = geometry.photo_to_crop(center, scale, 0, (256, 192))
    x, y, width, height = box
    corners = geometry.apply(matrix, np.array([[x, y], [x + width, y + height]]))
    np.testing.assert_allclose(corners.mean(axis=0), [96, 128], atol=1e-4)
    extent = corners[1] - corners[0]
    np.testing.assert_allclose(extent[0] / extent[1], width / height, rtol=1e-5)
    np.testing.assert_allclose(np.max(extent / [192, 256]), 1 / geometry.BOX_PADDING, rtol=1e-5)


def test_positive_rotation_turns_the_photo_counter_clockwise_in_the_crop():
    matrix = geometry.photo_to_crop(np.array([50.0, 50.0]), np.array([0.5, 0.5]), 90, (100, 100))
    right_of_center = geometry.apply(matrix, np.array([60.0, 50.0]))
    np.testing.assert_allclose(right_of_center, [50, 40], atol=1e-4)


def test_a_box_without_extent_still_has_an_inverse():
    center, scale = geometry.box_to_center_scale(np.array([30.0, 40.0, 0.0, 0.0]), 192 / 256)
    matrix = geometry.photo_to_crop(center, scale, 0, (256, 192))
    back = geometry.apply(geometry.invert(matrix), np.array([[0.0, 0.0], [191.0, 255.0]]))
    np.testing.assert_allclose(back, [[30, 40], [30, 40]], atol=1)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 20, 30, 40), (10, 20, 29, 39)),
        ((-10, -20, 30, 40), (0, 0, 29, 39)),  # the original moves the corner and keeps the size
        ((90, 70, 30, 40), (90, 70, 9, 9)),
        ((10, 20, 0.5, 1), (10, 20, 0, 0)),
        ((10, 20, -5, 4), (10, 20, 0, 3)),
        ((100, 20, 30, 40), None),
        ((10, 80, 30, 40), None),
    ],
)
def test_clip_box_in_a_photo_of_100_by_80(box, expected):
    found = geometry.clip_box(np.array(box), width=100, height=80)
    assert (found is None) == (expected is None)
    if found is not None:
        np.testing.assert_array_equal(found, expected)


def test_warp_shifts_whole_pixels_exactly_and_is_black_outside():
    photo = np.random.default_rng(0).integers(1, 256, (40, 30, 3), np.uint8)
    np.testing.assert_array_equal(geometry.warp(photo, np.eye(2, 3), (40, 30)), photo)
    shifted = geometry.warp(photo, np.array([[1.0, 0.0, -5.0], [0.0, 1.0, 3.0]]), (20, 30))
    np.testing.assert_array_equal(shifted[3:, :25], photo[:17, 5:])
    assert not shifted[:3].any()
    assert not shifted[:, 25:].any()


def test_centre_and_scale_have_the_requested_precision():
    box = np.array([100.1, 200.2, 300.3, 300.3])
    center, scale = geometry.box_to_center_scale(box, 1.0, np.float64)
    assert (center.dtype, scale.dtype) == (np.float64, np.float64)
    np.testing.assert_allclose(center, [250.25, 350.35], rtol=1e-15)
    np.testing.assert_allclose(scale, [300.3 / 160] * 2, rtol=1e-15)
    # The original rounds the three points to float32, after adding in float64.
    middle, top = center.astype(np.float32), (center - np.array([0, 100 * scale[0]])).astype(np.float32)
    corner = top - np.array([middle[1] - top[1], 0], np.float32)
    target = np.array([[128, 128], [128, 0], [0, 0]], np.float32)
    expected = cv2.getAffineTransform(np.stack([middle, top, corner]), target)
    np.testing.assert_array_equal(geometry.photo_to_crop(center, scale, 0.0, (256, 256)), expected)
    rounded = [array.dtype for array in geometry.box_to_center_scale(box, 1.0)]
    assert rounded == [np.float32, np.float32]


def test_a_box_around_minus_one_is_padded_as_any_other():
    """The original does not pad such a box, because it takes x = -1 for MPII's missing centre on COCO too."""
    _, scale = geometry.box_to_center_scale(np.array([-11.0, 50.0, 20.0, 40.0]), 192 / 256)
    _, elsewhere = geometry.box_to_center_scale(np.array([300.0, 50.0, 20.0, 40.0]), 192 / 256)
    np.testing.assert_array_equal(scale, elsewhere)


def test_warp_of_the_mirrored_photo_is_opencvs_in_every_pixel(monkeypatch):
    """Crops are enlarged, reduced, rotated, across the border and outside the photo."""
    monkeypatch.setattr(np, "empty", np.zeros)  # so that unmirrored pixels are not left over from a previous photo
    random = np.random.default_rng(0)
    for _ in range(300):
        height, width = random.integers(5, 200, 2)
        photo = random.integers(1, 256, (height, width, 3), np.uint8)
        center = random.uniform(-40, 240, 2).astype(np.float32)
        scale = np.repeat(np.float32(random.choice([0.02, 0.3, 0.5, 1, 2])), 2)
        matrix = geometry.photo_to_crop(center, scale, random.choice([0, 90, -33.3, 61.5]), (64, 48))
        expected = cv2.warpAffine(cv2.flip(photo, 1), matrix, (48, 64), flags=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(geometry.warp(photo, matrix, (64, 48), mirrored=True), expected)


def test_the_extent_that_is_too_short_is_enlarged():
    for width, height, expected in ((90, 100, (90, 120)), (60, 100, (75, 100)), (75, 100, (75, 100))):
        found = geometry.padded_scale(width, height, 0.75, 1.0)
        np.testing.assert_allclose(found * geometry.PIXELS_PER_SCALE, expected, rtol=1e-6)


def test_the_second_point_is_rounded_to_float32_once():
    middle, up = np.array([0.3, 2**24 + 1.0]), np.array([0.1, 2.0])  # the middle's own float32 is 2**24
    np.testing.assert_array_equal(geometry._corner_points(middle, up)[1], np.float32([0.4, 2**24 + 4]))
