import json
import zlib

import cv2
import numpy as np
import pytest

from hrnet_jax import geometry
from hrnet_jax.bottom_up import resize
from hrnet_jax.datasets import photos


@pytest.fixture(scope="module")
def release(shared):
    return dict(np.load(shared / "conformance" / "higher_hrnet" / "geometry.npz"))


def placed(row) -> tuple[resize.Size, resize.Placement]:
    """The base size and the placement of a row of the release's sizes."""
    width, height, input_size, scale, smallest = row[:5]
    size = int(height), int(width)
    base = resize.place(size, int(input_size), 1, smallest)
    return base.size, resize.place(size, int(input_size), scale, smallest)


def sizes_of_photos(shared) -> list[resize.Size]:
    sizes = []
    for split in ("train2017", "val2017"):
        file = shared / "real" / "coco_mini" / "annotations" / f"person_keypoints_{split}.json"
        sizes += [(image["height"], image["width"]) for image in json.loads(file.read_text())["images"]]
    return sizes


def random_sizes(count: int) -> list[resize.Size]:
    drawn = np.random.default_rng(0).integers(40, 1500, (count, 2))
    return [(height, width) for height, width in drawn.tolist()]


def test_sizes_are_those_of_the_release(release):
    for row in release["sizes"]:
        base_size, placement = placed(row)
        assert (*base_size[::-1], *placement.size[::-1], *placement.center) == tuple(row[5:11])
        assert placement.scale == tuple(row[11:13])


def test_short_sides_are_rounded_up_to_blocks_at_the_smallest_scale():
    assert resize.plan((300, 300), 500).sizes == ((512, 512),) * 2
    assert resize.plan((300, 300), 500, (0.5, 1)).sizes == ((512, 512), (512, 512), (256, 256))
    assert resize.plan((300, 300), 520, (0.5, 1)).sizes == ((640, 640), (640, 640), (320, 320))


def test_matrices_are_those_of_the_release(release):
    for row in release["sizes"]:
        base_size, placement = placed(row)
        found = np.stack([resize.photo_to_image(placement), resize.heatmap_to_photo(placement, base_size)])
        # Allows for the last bit of other processors, see `test_geometry`.
        np.testing.assert_allclose(found, row[13:].reshape(2, 2, 3), rtol=1e-12, atol=1e-10)


def test_images_are_those_of_the_release_in_every_pixel(release, shared):
    folder = shared / "real" / "coco_mini" / "images" / "val2017"
    for name, info, samples in zip(
        *(release[f"resize/{key}"] for key in ("file", "info", "samples")), strict=True
    ):
        photo = cv2.imread(str(folder / name), photos.DECODE_FLAGS)
        assert photo is not None
        _, placement = placed(info[1:6])
        image = resize.resize(photo, placement)
        assert image.shape == (*info[7:9].astype(int)[::-1], 3)
        if zlib.crc32(photo) != info[6]:
            pytest.skip(f"another decoder of JPEG reads {name}")
        assert zlib.crc32(image) == info[9]
        pixels = image.reshape(-1, 3)
        np.testing.assert_array_equal(pixels[np.linspace(0, len(pixels) - 1, 64).astype(int)], samples)


def test_joints_come_back_to_the_photo_as_in_the_release(release):
    for case in sorted({name.split("/")[1] for name in release if name.startswith("back/")}):
        row, points, expected = (release[f"back/{case}/{name}"] for name in ("row", "points", "photo"))
        base_size, placement = placed(row)
        found = geometry.apply(resize.heatmap_to_photo(placement, base_size), points[:, :2].astype(np.float64))
        np.testing.assert_allclose(found, expected[:, :2], rtol=1e-6)


def test_a_fraction_of_a_pixel_is_lost_in_rounding_up():
    """The long side is 1088.6 pixels at 512: above a multiple of 64, but by less than one."""
    assert resize.place((301, 640), 512).size == (512, 1088)


def test_tall_and_wide_photos_are_treated_alike():
    square = resize.place((200, 200), 128)
    assert (square.size, square.scale) == ((128, 128), (1.0, 1.0))
    tall, wide = resize.place((300, 200), 128), resize.place((200, 300), 128)
    assert tall.size == wide.size[::-1] == (192, 128)
    assert tall.scale == wide.scale[::-1] == (1.0, 1.5)


def test_the_base_size_depends_on_the_smallest_scale():
    assert resize.plan((480, 640), 512).base_size == (512, 704)
    assert resize.plan((480, 640), 512, (0.5, 1, 2)).base_size == (512, 768)


def test_plans_go_from_the_largest_scale_to_the_smallest():
    plan = resize.plan((480, 640), 512, (0.5, 1, 2))
    assert [placement.size for placement in plan.placements] == [(1024, 1536), (512, 768), (256, 384)]
    assert plan.sizes == ((512, 768), (1024, 1536), (512, 768), (256, 384))


@pytest.mark.parametrize("size", random_sizes(20))
def test_images_show_the_whole_photo(size):
    """Its middle is the image's, and less than a pixel of the image is cut off."""
    for placement in resize.plan(size, 256, (0.5, 1, 2)).placements:
        to_image, (height, width) = resize.photo_to_image(placement), placement.size
        middle = geometry.apply(to_image, np.array(placement.center, float))
        np.testing.assert_allclose(middle, [width / 2, height / 2], atol=1e-3)
        corners = geometry.apply(to_image, np.array([[0, 0], [size[1], size[0]]], float))
        zoom = max(placement.size) / max(placement.scale) / geometry.PIXELS_PER_SCALE
        rounding = 0.5 * zoom + 1 + 1e-3  # of the centre, and of a long side that is rounded down
        assert (corners[0] > -rounding).all() and (corners[1] < np.array([width, height]) + rounding).all()


@pytest.mark.parametrize("size", random_sizes(5))
def test_the_way_back_is_the_inverse(size):
    placement = resize.place(size, 256)
    points = np.random.default_rng(0).uniform(0, 256, (9, 2))
    there = geometry.apply(resize.heatmap_to_photo(placement, placement.size), points)
    np.testing.assert_allclose(geometry.apply(resize.photo_to_image(placement), there), points, atol=1e-3)


def test_photos_with_equal_images_share_a_group():
    sizes = random_sizes(60)
    groups = resize.group_by_size(sizes, 256, (1, 0.5))
    assert sorted(row for rows in groups.values() for row in rows) == list(range(60))
    for key, rows in groups.items():
        assert {resize.plan(sizes[row], 256, (1, 0.5)).sizes for row in rows} == {key}


def test_real_photos_need_few_programs(shared):
    sizes = sizes_of_photos(shared)
    assert len(sizes) == 159
    assert len(resize.group_by_size(sizes, 512)) == 15


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((0.5, 2), "among them 1"),
        ((), "among them 1"),
        ((1, 1), "different"),
        ((1, 0), "positive"),
        ((1, -1), "positive"),
        ((1, float("inf")), "positive"),
        ((1, float("nan")), "positive"),
        ((1, 0.75), r"are not multiples of 32.*\(0.5, 1, 2\)"),
        ((1, 0.66), r"are not multiples of 32.*\(0.5, 1, 2\)"),
        ((1, 1.01), r"are not multiples of 32.*\(0.5, 1, 2\)"),
    ],
)
def test_wrong_scales_are_told(scales, message):
    with pytest.raises(ValueError, match=message):
        resize.plan((480, 640), 512, scales)


def test_sizes_that_no_image_can_have_are_told():
    with pytest.raises(ValueError, match=r"lose a pixel by rounding: a photo of \(300, 320\)"):
        resize.plan((300, 320), 512, (1, 2 / 3))
    with pytest.raises(ValueError, match=r"`input_size` \(=1\)"):
        resize.plan((480, 640), 1, (1, 0.5))
    with pytest.raises(ValueError, match=r"`photo_size` \(=\(10, 5000\)\) gives an image of \(512, 256000\)"):
        resize.plan((10, 5000), 512)
