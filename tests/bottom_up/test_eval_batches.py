import itertools

import cv2
import made_coco
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.bottom_up import eval_batches, inference, resize
from hrnet_jax.datasets import annotated_photos, records

SETTINGS = inference.Settings(input_size=64)
SIZES = {10: (64, 48), 20: (48, 64), 30: (64, 48), 40: (48, 64), 50: (64, 48)}  # (width, height) by photo id


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> records.Split:
    """Photos of two shapes, some without people."""
    root = tmp_path_factory.mktemp("sizes")
    content = made_coco.content([*SIZES])
    del content["annotations"][1:3]
    for image in content["images"]:
        image["width"], image["height"] = SIZES[image["id"]]
    made_coco.write(root / "root", content)
    for number, (width, height) in SIZES.items():
        pixels = np.full((height, width, 3), number, np.uint8)
        cv2.imwrite(str(root / f"root/images/val2017/{number:012d}.jpg"), pixels)
    prepare.prepare_coco(root / "root", root / "out")
    return records.open_split(root / "out" / "val2017")


def load(split, batch_size: int, **options) -> tuple[list[list[int]], list[inference.Batch]]:
    photos = annotated_photos.list_all(split)
    groups = eval_batches.group_photos(photos, SETTINGS, batch_size)
    return groups, [*eval_batches.load(split, photos, groups, SETTINGS, batch_size=batch_size, **options)]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("threads", [0, 3])
def test_every_photo_comes_once_with_others_of_its_size(split, batch_size, threads):
    groups, batches = load(split, batch_size, threads=threads)
    assert sorted(itertools.chain.from_iterable(groups)) == list(range(len(SIZES)))
    for rows, batch in zip(groups, batches, strict=True):
        photo_ids = [[*SIZES][row] for row in rows]
        assert batch.names == [f"photo {number}" for number in photo_ids]
        (images,) = batch.images
        assert len(images) == batch_size and len({SIZES[number] for number in photo_ids}) == 1
        for plan, image, number in zip(batch.plans, images, photo_ids, strict=False):
            assert image.shape[:2] == plan.base_size
            assert abs(int(np.median(image)) - number) <= 1


def test_images_are_those_of_the_photos(split):
    groups, batches = load(split, 2)
    for rows, batch in zip(groups, batches, strict=True):
        for row, plan, image in zip(rows, batch.plans, batch.images[0], strict=False):
            photo = records.read_photo(split.photos, None, annotated_photos.list_all(split), row)
            np.testing.assert_array_equal(image, resize.resize(photo, plan.placements[0]))


def test_processes_share_the_images_of_each_batch(split):
    _, whole = load(split, 4)
    shares = [load(split, 4, process_index=index, process_count=2)[1] for index in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert all(part.names == batch.names and part.plans == batch.plans for part in parts)
        np.testing.assert_array_equal(np.concatenate([part.images[0] for part in parts]), batch.images[0])


def test_a_batch_that_processes_cannot_share_is_refused(split):
    with pytest.raises(ValueError, match=r"`batch_size` \(=3\).* 2 processes"):
        load(split, 3, process_count=2)
