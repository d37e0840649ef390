import contextlib
import dataclasses
import itertools
import re
import zlib

import cv2
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.bottom_up import augment, pipeline
from hrnet_jax.datasets import annotated_photos, masks, records
from hrnet_jax.skeletons import COCO

SIZES = pipeline.Sizes(image=64, heatmaps=(16, 32), people=3)
POLICY = augment.Policy()
COUNTS = [1, 0, 5, 2, 3, 1, 2]  # people on each photo
JOINTS = COCO.num_joints


def png(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (50 + number, 60, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def made_up(counts=COUNTS) -> annotated_photos.AnnotatedPhotos:
    """Returns photos of noise with people at random places, the first with a region that does not count."""
    rng, people, number = np.random.default_rng(0), sum(counts), np.arange(len(counts))
    return annotated_photos.AnnotatedPhotos(
        name="made_up",
        skeleton=COCO,
        photo_id=100 + number,
        photo_index=number,
        first=np.cumsum([0, *counts]),
        joints=rng.uniform(0, 60, (people, JOINTS, 2)),
        visible=(rng.random((people, JOINTS)) < 0.7).astype(float),
        photos=[{"photo_id": 100 + i, "image": png(i)} for i in number],
        masks=masks.Masks(np.array([100]), np.array([0], np.int32), np.array([1500], np.int32)),
    )


def training(count: int, photos=None, **options) -> list[pipeline.Batch]:
    options = {"sizes": SIZES, "policy": POLICY, "batch_size": 4, "seed": 0, "threads": 0} | options
    with contextlib.closing(pipeline.train_batches(made_up() if photos is None else photos, **options)) as batches:
        return list(itertools.islice(batches, count))


def assert_same(found, expected) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_batches_match_the_table_in_the_docstring():
    size = {"B": 4, "S": 64, "R": 2, "P": 3, "K": JOINTS, "2": 2, "3": 3}
    table = re.findall(r"^(\w+) +\[([\w, /]+)\] (\w+)", pipeline.__doc__ or "", re.MULTILINE)
    expected = {name: (shape.split(", "), dtype) for name, shape, dtype in table}
    side, dtype = expected.pop("mask_r")
    assert side == ["B", "s", "s / 8"]
    expected = {
        name: (tuple(size[letter] for letter in shape), dtype) for name, (shape, dtype) in expected.items()
    }
    expected |= {"mask_0": ((4, 16, 2), dtype), "mask_1": ((4, 32, 4), dtype)}
    (batch,) = training(1)
    assert {name: (array.shape, str(array.dtype)) for name, array in batch.items()} == expected


@pytest.mark.parametrize("start_step", [0, 1, 5])
@pytest.mark.parametrize("threads", [0, 3])
def test_resuming_at_a_step_gives_the_same_batches(start_step, threads):
    found = training(8 - start_step, start_step=start_step, threads=threads)
    assert_same(found, training(8)[start_step:])


def test_a_worker_process_gives_the_same_batches():
    assert_same(training(3, workers=1, start_step=1), training(4)[1:])


def test_batches_of_processes_concatenate_to_the_global_batch():
    shares = [training(4, process_index=index, process_count=2) for index in range(2)]
    whole = [
        {name: np.concatenate([share[name] for share in step]) for name in step[0]}
        for step in zip(*shares, strict=True)
    ]
    assert_same(whole, training(4))


def test_every_epoch_visits_all_photos_once_in_a_new_order_with_new_draws():
    batches = training(3, batch_size=len(COUNTS))
    orders = [batch["index"].tolist() for batch in batches]
    assert all(sorted(order) == list(range(len(COUNTS))) for order in orders) and orders[0] != orders[1]
    images = [batch["image"][np.argsort(batch["index"])] for batch in batches]
    assert (images[0] != images[1]).any(axis=(1, 2, 3)).all()


def by_row(batches) -> dict[int, dict[str, np.ndarray]]:
    return {
        int(index): {name: array[row] for name, array in batch.items()}
        for batch in batches
        for row, index in enumerate(batch["index"])
    }


def test_people_are_kept_in_order_up_to_the_bound():
    photos = made_up()
    for index, found in by_row(training(1, photos, batch_size=len(COUNTS), policy=None)).items():
        count = min(COUNTS[index], SIZES.people)
        people = slice(photos.first[index], photos.first[index] + count)
        np.testing.assert_array_equal(found["visible"][:count], photos.visible[people])
        assert not found["visible"][count:].any()
        height, width = 50 + index, 60
        side = min(height, width)
        for size, joints in zip(SIZES.heatmaps, found["joints"], strict=True):
            middle = np.array([width, height]) / 2
            expected = size / side * (photos.joints[people] - middle) + size / 2
            np.testing.assert_allclose(joints[:count], expected, rtol=1e-5, atol=1e-5)


def test_mirrored_people_swap_their_sides():
    plain, mirrored = (
        by_row(training(1, batch_size=len(COUNTS), policy=augment.Policy((1, 1), 0, 0, flip))) for flip in (0, 1)
    )
    for index, one in plain.items():
        other, order = mirrored[index], COCO.flip_order
        np.testing.assert_array_equal(one["image"][:, ::-1], other["image"])
        np.testing.assert_array_equal(one["visible"][:, order], other["visible"])
        labelled = other["visible"] > 0
        for number, size in enumerate(SIZES.heatmaps):
            x, y = np.moveaxis(one["joints"][number][:, order], -1, 0)
            expected = np.stack([size - 1 - x, y], axis=-1)
            np.testing.assert_allclose(other["joints"][number][labelled], expected[labelled], atol=1e-4)
            bits, bits_of_other = (np.unpackbits(found[f"mask_{number}"], axis=-1) for found in (one, other))
            np.testing.assert_array_equal(bits[:, ::-1], bits_of_other)


def test_regions_of_the_photo_and_what_is_outside_do_not_count():
    found = by_row(training(1, batch_size=len(COUNTS), policy=None))
    for number in (0, 1):
        mask = np.unpackbits(found[0][f"mask_{number}"], axis=-1)
        half = len(mask) // 2  # the first 25 of 50 rows
        assert not mask[: half - 1].any() and mask[half + 1 :].all()
        assert np.unpackbits(found[2][f"mask_{number}"], axis=-1).all()
    wide = by_row(training(1, batch_size=len(COUNTS), policy=augment.Policy((1.5, 1.5), 0, 0, 0)))
    assert not np.unpackbits(wide[2]["mask_1"], axis=-1)[0].any()


def test_joints_are_rounded_toward_zero():
    numbers = np.array([128 - 1e-12, -1 + 1e-12, 1e-300, 0.0, 0.1, -0.1, 3.0, -(5 - 1e-9)])
    found = pipeline.toward_zero(numbers)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.trunc(found), np.trunc(numbers))
    assert (np.abs(found.astype(float)) <= np.abs(numbers)).all()
    np.testing.assert_allclose(found, numbers, rtol=2e-7, atol=1e-30)


def test_a_split_without_annotated_photos_is_rejected():
    with pytest.raises(ValueError, match="split 'made_up' has no annotated photos to load"):
        training(1, made_up([]))
    with pytest.raises(ValueError, match=r"`batch_size` \(=3\).* 2 processes"):
        training(1, batch_size=3, process_count=2)


@pytest.fixture(scope="module")
def coco_mini(shared, tmp_path_factory) -> annotated_photos.AnnotatedPhotos:
    out = tmp_path_factory.mktemp("coco_mini")
    prepare.prepare_coco(shared / "real" / "coco_mini", out, ["train2017"])
    return annotated_photos.AnnotatedPhotos.of_split(records.open_split(out / "train2017"))


def test_examples_are_those_of_the_original(shared, coco_mini):
    reference = np.load(shared / "conformance" / "higher_hrnet" / "augment.npz")
    assert sorted(reference["images_kept"]) == coco_mini.photo_id.tolist()
    sizes = pipeline.Sizes(512, (128, 256), 30)
    for number, case in enumerate(reference["cases"]):
        (row,) = np.flatnonzero(coco_mini.photo_id == int(case[0]))
        draw = augment.Draw(case[3], case[4], (int(case[5]), int(case[6])), bool(case[7]))
        given = coco_mini[row]
        expected = reference[f"case{number}/joints_photo"]
        np.testing.assert_array_equal(given["joints"], expected[..., :2])
        np.testing.assert_array_equal(given["visible"], expected[..., 2] > 0)
        np.testing.assert_array_equal(np.packbits(given["mask"] > 0), reference[f"case{number}/mask_photo"])
        found = pipeline._example(given | {"draw": draw}, sizes=sizes, flip_order=COCO.flip_order)
        if zlib.crc32(given["photo"].tobytes()) == case[12]:
            assert zlib.crc32(np.ascontiguousarray(found["image"]).tobytes()) == case[13]
        for scale, size in enumerate(sizes.heatmaps):
            np.testing.assert_array_equal(found[f"mask_{scale}"].ravel(), reference[f"case{number}/mask{scale}"])
            wanted = reference[f"case{number}/indices{scale}"]
            np.testing.assert_array_equal(packed_indices(found, scale, size), wanted)


def packed_indices(found: pipeline.Batch, scale: int, size: int) -> np.ndarray:
    """The places of the usable joints as the original keeps them, [P, K, 2]."""
    indices = np.zeros((*found["visible"].shape, 2), np.int32)
    for person, (joints, visible) in enumerate(zip(found["joints"][scale], found["visible"], strict=True)):
        places = np.trunc(joints).astype(int)
        usable = (visible > 0) & ((places >= 0) & (places < size)).all(axis=-1)
        for slot, joint in enumerate(np.flatnonzero(usable)):
            x, y = places[joint]
            indices[person, slot] = joint * size * size + y * size + x, 1
    return indices


def test_decoded_photos_give_the_same_examples(coco_mini, monkeypatch):
    row = 3
    pixels = {int(coco_mini.photo_index[row]): coco_mini[row]["photo"]}
    other = dataclasses.replace(coco_mini, decoded=pixels)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(other[row]["photo"], coco_mini[row]["photo"])
