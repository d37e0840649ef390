import zlib

import cv2
import numpy as np
import pytest

from hrnet_jax import geometry
from hrnet_jax.bottom_up import augment
from hrnet_jax.datasets import photos
from hrnet_jax.skeletons import COCO

SIZES = {"out0": 128, "out1": 256, "in": 512}
POLICY = augment.Policy()
PHOTO = (90, 120)


@pytest.fixture(scope="module")
def reference(shared):
    return np.load(shared / "conformance" / "higher_hrnet" / "augment.npz")


def draw_of(case: np.ndarray) -> augment.Draw:
    return augment.Draw(case[3], case[4], (int(case[5]), int(case[6])), bool(case[7]))


def draws(count: int, photo_size=PHOTO, policy=POLICY, seed=0) -> list[augment.Draw]:
    rng = np.random.default_rng(seed)
    return [augment.sample(rng, photo_size, policy) for _ in range(count)]


def test_matrices_joints_and_masks_are_those_of_the_original(reference):
    for number, case in enumerate(reference["cases"]):
        draw, photo_size = draw_of(case), (int(case[2]), int(case[1]))
        given = {name: reference[f"case{number}/{name}_photo"] for name in ("joints", "mask")}
        mask = 255 * np.unpackbits(given["mask"], count=np.prod(photo_size)).reshape(photo_size)
        order = COCO.flip_order if draw.flip else slice(None)
        for name, size in SIZES.items():
            matrix = augment.photo_to_image(draw, photo_size, size)
            np.testing.assert_array_equal(matrix, reference[f"case{number}/matrix_{name}"])
            if name == "in":
                continue
            scale = name[-1]
            joints = augment.map_joints(draw, matrix, given["joints"][..., :2], size)[:, order]
            np.testing.assert_allclose(
                joints, reference[f"case{number}/joints{scale}"][..., :2], rtol=0, atol=1e-12
            )
            np.testing.assert_array_equal(
                np.packbits(augment.warp_mask(draw, matrix, mask, size)), reference[f"case{number}/mask{scale}"]
            )


def test_images_are_those_of_the_original_bit_for_bit(reference, shared):
    folder = shared / "real" / "coco_mini" / "images" / "train2017"
    for case in reference["cases"]:
        photo = photos.decode_unnamed((folder / f"{int(case[0]):012d}.jpg").read_bytes())
        if zlib.crc32(photo.tobytes()) != case[12]:
            pytest.skip("OpenCV decodes JPEG files with another library here")
        matrix = augment.photo_to_image(draw_of(case), photo.shape[:2], 512)
        image = augment.warp_image(draw_of(case), matrix, photo, 512)
        assert zlib.crc32(np.ascontiguousarray(image).tobytes()) == case[13]


def test_the_bound_of_the_shift_is_that_of_the_original(reference):
    for case in reference["cases"]:
        photo_size, bound = (int(case[2]), int(case[1])), int(case[11])
        assert int(augment.MOST_SHIFT * augment.scale(photo_size, case[3])) == bound
        policy = augment.Policy(scale=(case[3], case[3]))
        shifts = np.array([draw.shift for draw in draws(3000, photo_size, policy)])
        assert (shifts.min(), shifts.max()) == (-bound, bound - 1)


def test_draws_have_the_original_distributions():
    found = draws(20_000)
    factors, rotations = (
        np.array([getattr(draw, name) for draw in found]) for name in ("scale_factor", "rotation")
    )
    for values, low, high in ((factors, 0.75, 1.5), (rotations, -30, 30)):
        shares = np.histogram(values, 10, (low, high))[0] / len(values)
        assert shares.sum() == 1 and np.abs(shares - 0.1).max() < 0.01
    assert abs(np.mean([draw.flip for draw in found]) - 0.5) < 0.02
    bounds = 40 * 90 / 200 * factors
    shifts = np.array([draw.shift for draw in found])
    assert (shifts >= -bounds[:, None]).all() and (shifts < bounds[:, None]).all()
    assert np.abs(np.corrcoef(np.c_[factors, rotations, shifts / bounds[:, None]].T) - np.eye(4)).max() < 0.03


def test_draws_do_not_depend_on_each_others_outcome():
    """The same random numbers are used up by every draw."""
    for other in ({"flip": 0.0}, {"rotation": 0.0}, {"rotation": 10.0}):
        for one, two in zip(draws(20), draws(20, policy=augment.Policy(**other)), strict=True):
            assert (one.scale_factor, one.shift) == (two.scale_factor, two.shift)


@pytest.mark.parametrize("photo_size", [(1, 1), (3, 200)])
def test_tiny_photos_are_not_shifted(photo_size):
    assert {draw.shift for draw in draws(50, photo_size)} == {(0, 0)}


@pytest.mark.parametrize("photo_size", [(90, 120), (120, 90), (64, 64)])
def test_the_identity_shows_the_middle_square(photo_size):
    matrix, side = augment.photo_to_image(augment.Draw(), photo_size, 64), min(photo_size)
    middle = np.array([photo_size[1], photo_size[0]]) / 2
    corners = geometry.apply(matrix, np.array([middle - side / 2, middle + side / 2]))
    np.testing.assert_allclose(corners, [[0, 0], [64, 64]], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_matrices_of_sizes_are_multiples_of_each_other(seed):
    (draw,) = draws(1, seed=seed)
    small, large = (augment.photo_to_image(draw, PHOTO, size) for size in (32, 128))
    np.testing.assert_allclose(4 * small, large, rtol=1e-12, atol=1e-11)
    side = 90 * draw.scale_factor
    np.testing.assert_allclose(np.linalg.det(large[:, :2]), (128 / side) ** 2)
    center = np.array([60.0, 45.0]) + draw.shift
    np.testing.assert_allclose(geometry.apply(large, center), [64, 64], atol=1e-9)


def test_positive_rotations_turn_counter_clockwise():
    matrix = augment.photo_to_image(augment.Draw(rotation=30.0), (64, 64), 64)
    right = geometry.apply(matrix, np.array([42.0, 32.0])) - 32
    assert right[0] > 0 and right[1] < 0


@pytest.mark.parametrize("flip", [False, True])
def test_joints_stay_on_their_pixels(flip):
    photo, joint = np.zeros((64, 96, 3), np.uint8), np.array([[[40.0, 20.0]]])
    cv2.circle(photo, (40, 20), 3, (255, 255, 255), -1)
    draw = augment.Draw(1.2, 20.0, (3, -4), flip)
    matrix = augment.photo_to_image(draw, (64, 96), 128)
    image = augment.warp_image(draw, matrix, photo, 128)
    rows, columns = np.nonzero(image[..., 0] > 127)
    mapped = augment.map_joints(draw, matrix, joint, 128)[0, 0]
    np.testing.assert_allclose(mapped, [columns.mean(), rows.mean()], atol=0.3)


@pytest.mark.parametrize("flip", [False, True])
def test_nothing_counts_outside_the_photo(flip):
    draw = augment.Draw(1.5, 25.0, (5, 5), flip)
    matrix = augment.photo_to_image(draw, PHOTO, 64)
    mask = augment.warp_mask(draw, matrix, np.full(PHOTO, 255, np.uint8), 64)
    image = augment.warp_image(draw, matrix, np.full((*PHOTO, 3), 255, np.uint8), 64)
    np.testing.assert_array_equal(mask, image[..., 0] > 127)
    assert 0.2 < mask.mean() < 0.9 and mask.dtype == bool


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": (0.0, 1.0)}, r"`scale` \(=\(0.0, 1.0\)\) must be two sizes above 0"),
        ({"scale": (1.5, 0.75)}, r"the lower first"),
        ({"rotation": -1.0}, r"`rotation` \(=-1.0\) must not be negative"),
        ({"shift": -1}, r"`shift` \(=-1\) must not be negative"),
        ({"flip": 1.5}, r"`flip` \(=1.5\) must be a probability"),
    ],
)
def test_impossible_policies_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        augment.Policy(**changes)
