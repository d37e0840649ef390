import contextlib
import dataclasses
import itertools
import os
import pathlib
import re
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from hrnet_jax import augment, geometry, pipeline
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets import records
from hrnet_jax.skeletons import COCO

NUM_PHOTOS = 5
NUM_PEOPLE = 11
IMAGE_SIZE = (64, 48)
POLICY = augment.Policy()


def coordinate_photo(number: int) -> bytes:
    """Returns a PNG with x in red, y in green and the photo's number in blue."""
    height, width = 120 + number, 160 + number
    y, x = np.mgrid[:height, :width]
    red_green_blue = np.stack([x, y, np.full_like(x, number)], axis=-1).astype(np.uint8)
    return cv2.imencode(".png", red_green_blue[:, :, ::-1])[1].tobytes()


def made_up_split(num_people: int = NUM_PEOPLE, **changes) -> records.Split:
    """Returns people at random places in a few photos; `changes` replace columns of the table of people."""
    rng = np.random.default_rng(0)
    photo_index = np.sort(rng.integers(0, NUM_PHOTOS, num_people))
    corner, size = rng.uniform(5, 60, (num_people, 1, 2)), rng.uniform(30, 60, (num_people, 1, 2))
    people = records.People(
        photo_index=photo_index,
        photo_id=100 + photo_index,
        annotation_id=np.arange(num_people),
        box=np.concatenate([corner, size], axis=-1)[:, 0],
        joints=corner + size * rng.uniform(0, 1, (num_people, COCO.num_joints, 2)),
        visible=(rng.uniform(0, 1, (num_people, COCO.num_joints)) < 0.8).astype(float),
        score=np.ones(num_people),
    )
    return records.Split(
        name="made_up",
        photos=[{"photo_id": 100 + i, "image": coordinate_photo(i)} for i in range(NUM_PHOTOS)],
        people=dataclasses.replace(people, **changes),
        detections=None,
        annotations=pathlib.Path("none"),
        skeleton=COCO,
        summary={},
    )


def training(count: int, split: records.Split | None = None, **options) -> list[pipeline.Batch]:
    """Returns the first `count` batches."""
    options = {"image_size": IMAGE_SIZE, "batch_size": 4, "seed": 0, "policy": POLICY, "threads": 0} | options
    with contextlib.closing(pipeline.train_batches(split or made_up_split(), **options)) as batches:
        return list(itertools.islice(batches, count))


def evaluation(split: records.Split | None = None, people: records.People | None = None, **options):
    """Returns all batches."""
    split = split or made_up_split()
    options = {"image_size": IMAGE_SIZE, "batch_size": 4, "threads": 0} | options
    with contextlib.closing(pipeline.eval_batches(split, people or split.people, **options)) as batches:
        return list(batches)


def assert_same(found: list[pipeline.Batch], expected: list[pipeline.Batch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def concatenated(shares: list[list[pipeline.Batch]]) -> list[pipeline.Batch]:
    """Returns the global batches from those of the processes."""
    return [
        {name: np.concatenate([share[name] for share in step]) for name in step[0]}
        for step in zip(*shares, strict=True)
    ]


def test_batches_match_the_table_in_the_docstring():
    size = {"B": 4, "K": 17, "H": 64, "W": 48, "2": 2, "3": 3}
    table = re.findall(r"^(\w+) +\[([\w, ]+)\] (\w+)", pipeline.__doc__ or "", re.MULTILINE)
    assert len(table) == 7
    for batch in (training(1)[0], evaluation()[0]):
        found = {name: (array.shape, str(array.dtype)) for name, array in batch.items()}
        assert found == {
            name: (tuple(size[letter] for letter in shape.split(", ")), dtype) for name, shape, dtype in table
        }


@pytest.mark.parametrize("seed", range(3))
def test_the_crop_matrix_maps_the_photo_to_the_crop_under_any_augmentation(seed):
    split = made_up_split()
    mirrored = []
    for batch in training(6, split, seed=seed):
        for image, crop, index in zip(batch["image"], batch["crop"], batch["index"], strict=True):
            y, x = np.mgrid[: IMAGE_SIZE[0], : IMAGE_SIZE[1]]
            in_photo = geometry.apply(geometry.invert(crop.astype(float)), np.stack([x, y], axis=-1))
            number = split.people.photo_index[index]
            inside = np.all((in_photo > 1) & (in_photo < [158 + number, 118 + number]), axis=-1)
            assert inside.mean() > 0.1
            expected = np.concatenate([in_photo, np.full((*IMAGE_SIZE, 1), number)], axis=-1)
            # OpenCV interpolates at 1/32 of a pixel and rounds to whole grey levels.
            assert np.abs(image[inside] - expected[inside]).max() < 0.6
            mirrored.append(np.linalg.det(crop[:, :2]) < 0)
    assert len(set(mirrored)) == 2


@pytest.mark.parametrize("seed", range(3))
def test_joints_are_mapped_by_the_crop_matrix(seed):
    people = made_up_split().people
    for batch in training(6, seed=seed):
        for joints, visible, crop, index in zip(
            batch["joints"], batch["visible"], batch["crop"], batch["index"], strict=True
        ):
            order = COCO.flip_order if np.linalg.det(crop[:, :2]) < 0 else np.arange(COCO.num_joints)
            np.testing.assert_array_equal(visible, people.visible[index][order])
            expected = geometry.apply(crop.astype(float), people.joints[index])[order]
            labelled = visible > 0
            np.testing.assert_allclose(joints[labelled], expected[labelled], atol=1e-4)


def test_a_box_and_its_padding_fill_the_crop():
    people = made_up_split().people
    (batch,) = evaluation(batch_size=NUM_PEOPLE)
    for crop, box in zip(batch["crop"], people.box, strict=True):
        corners = geometry.apply(crop.astype(float), np.array([box[:2], box[:2] + box[2:]]))
        np.testing.assert_allclose(corners.mean(axis=0), [24, 32], atol=1e-3)
        np.testing.assert_allclose(np.max((corners[1] - corners[0]) / [48, 64]), 1 / 1.25, rtol=1e-5)


@pytest.mark.parametrize(("dataset", "precision"), [("coco", np.float32), ("mpii", np.float64)])
def test_crops_have_the_precision_of_their_data_set(dataset, precision):
    split, expected = dataclasses.replace(made_up_split(100), summary={"dataset": dataset}), {}
    for dtype in (np.float32, np.float64):
        views = [geometry.box_to_center_scale(box, 48 / 64, dtype) for box in split.people.box]
        expected[dtype] = np.stack([geometry.photo_to_crop(*view, 0.0, IMAGE_SIZE) for view in views], dtype="f4")
    assert (expected[np.float32] != expected[np.float64]).any()
    (batch,) = evaluation(split, batch_size=100)
    np.testing.assert_array_equal(batch["crop"], expected[precision])


@pytest.mark.parametrize("start_step", [0, 1, 2, 3, 7])
def test_resuming_at_a_step_gives_the_same_batches(start_step):
    assert_same(training(10 - start_step, start_step=start_step), training(10)[start_step:])


@pytest.mark.parametrize("threads", [1, 4])
def test_any_number_of_threads_gives_the_same_batches(threads):
    assert_same(training(8, threads=threads), training(8))
    assert_same(evaluation(threads=threads), evaluation())


def test_a_worker_process_gives_the_same_batches():
    assert_same(training(4, workers=1, start_step=2), training(6)[2:])


def load_with_workers() -> None:
    """Loads batches with worker processes, drops them and waits until grain's thread has freed their memory."""
    batches = training(4, workers=2, threads=1)
    names = {array.shm.name for batch in batches for array in batch.values()}
    del batches
    while names.intersection(os.listdir("/dev/shm")):
        time.sleep(0.01)


def test_worker_processes_leave_no_shared_memory():
    """Python names what is left in ``/dev/shm`` when a program ends."""
    tests = pathlib.Path(__file__).parent
    paths = os.pathsep.join(map(str, (tests, tests.parent)))
    program = "import test_pipeline as t\nif __name__ == '__main__': t.load_with_workers()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "leaked" not in done.stderr


@pytest.mark.parametrize("process_count", [2, 4])
@pytest.mark.parametrize("start_step", [0, 3])
def test_batches_of_processes_concatenate_to_the_global_batch(process_count, start_step):
    options = {"process_count": process_count, "batch_size": 8}
    shares = [training(5, process_index=index, start_step=start_step, **options) for index in range(process_count)]
    assert_same(concatenated(shares), training(5, batch_size=8, start_step=start_step))
    shares = [evaluation(process_index=index, **options) for index in range(process_count)]
    assert_same(concatenated(shares), evaluation(batch_size=8))


@pytest.mark.parametrize("batch_size", [1, 4, NUM_PEOPLE, 2 * NUM_PEOPLE + 1])
def test_every_epoch_visits_everyone_once_in_a_new_order(batch_size):
    batches = training(4 * NUM_PEOPLE // batch_size + 1, batch_size=batch_size)
    seen = np.concatenate([batch["index"] for batch in batches])
    epochs = seen[: 4 * NUM_PEOPLE].reshape(4, NUM_PEOPLE)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(NUM_PEOPLE), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_batch_may_hold_several_epochs_with_any_number_of_threads():
    one, many = (training(6, batch_size=5 * NUM_PEOPLE, threads=threads) for threads in (0, 8))
    assert all(np.bincount(batch["index"]).tolist() == [5] * NUM_PEOPLE for batch in one)
    assert_same(many, one)


def test_every_epoch_augments_differently():
    # Without the rotation, two draws are now and then the same: both at the end of the scale, say.
    always_turned = augment.Policy(rotation_probability=1)
    epochs = training(6, batch_size=NUM_PEOPLE, policy=always_turned)
    crops = np.stack([batch["crop"][np.argsort(batch["index"])] for batch in epochs], axis=1)
    assert all(len(np.unique(of_one_person, axis=0)) == len(epochs) for of_one_person in crops)


def test_the_seed_determines_the_batches():
    one, same, other = (np.stack([b["crop"] for b in training(3, seed=seed)]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any(axis=(-1, -2)).all()


def test_the_seed_determines_the_order():
    one, other = (training(1, batch_size=NUM_PEOPLE, seed=seed)[0]["index"] for seed in (1, 2))
    assert (one != other).any()


def test_the_seed_determines_the_augmentation_of_a_single_person():
    one, other = (training(1, made_up_split(1), seed=seed)[0]["crop"] for seed in (1, 2))
    assert (one != other).any(axis=(-1, -2)).all()


def test_without_a_policy_training_crops_equal_evaluation_crops():
    trained = training(1, policy=None, batch_size=NUM_PEOPLE)[0]
    evaluated = evaluation(batch_size=NUM_PEOPLE)[0]
    order = np.argsort(trained["index"])
    assert_same([{name: array[order] for name, array in trained.items()}], [evaluated])


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_evaluation_counts_everyone_exactly_once(process_count):
    for batch_size in range(process_count, 2 * NUM_PEOPLE + 4, process_count):
        shares = [
            evaluation(batch_size=batch_size, process_count=process_count, process_index=index)
            for index in range(process_count)
        ]
        whole = {name: np.concatenate([b[name] for b in concatenated(shares)]) for name in shares[0][0]}
        assert len(whole["index"]) % batch_size == 0
        assert len(whole["index"]) < NUM_PEOPLE + batch_size
        np.testing.assert_array_equal(whole["index"][whole["valid"] == 1], np.arange(NUM_PEOPLE))


def test_crops_of_real_photos_are_the_originals_in_every_pixel(shared, coco_data):
    expected = np.load(shared / "conformance" / "coco_four" / "real.npz")
    split = records.open_split(coco_data / "val2017")
    batches = evaluation(split, image_size=(256, 192), batch_size=5, threads=2)
    found = {name: np.concatenate([b[name] for b in batches])[:12] for name in batches[0]}
    np.testing.assert_array_equal(split.people.photo_id, expected["gt/image_id"])
    # The reference keeps the crops of the first 11 of its 12 people.
    np.testing.assert_array_equal(found["image"][:11], expected["gt/crops_rgb_uint8"])
    np.testing.assert_array_equal(found["visible"], expected["gt/vis"])
    np.testing.assert_allclose(found["joints"], expected["gt/joints_in_crop"][..., :2], rtol=1e-6)
    for row in range(12):
        center, scale = geometry.box_to_center_scale(split.people.box[row], 192 / 256)
        np.testing.assert_array_equal(center, expected["gt/center"][row])
        np.testing.assert_array_equal(scale, expected["gt/scale"][row])


def test_detections_are_evaluated_like_people(coco_data):
    split = records.open_split(coco_data / "val2017")
    assert split.detections is not None
    batches = evaluation(split, split.detections, batch_size=50)
    assert sum(batch["valid"].sum() for batch in batches) == len(split.detections.box) == 118
    assert [len(batch["valid"]) for batch in batches] == [50, 50, 50]


@pytest.mark.parametrize(
    ("num_people", "batch_size", "steps"), [(149_813, 128, 1171), (8, 4, 2), (9, 4, 3), (3, 64, 1)]
)
def test_steps_per_epoch(num_people, batch_size, steps):
    assert pipeline.steps_per_epoch(num_people, batch_size) == steps


@pytest.mark.parametrize(("batch_size", "nearest"), [(30, "28 and 32"), (2, "4 and 8"), (0, "4 and 8")])
def test_a_batch_size_not_divisible_by_the_processes_is_rejected(batch_size, nearest):
    with pytest.raises(ValueError, match=rf"`batch_size` \(={batch_size}\).* 4 processes.*{nearest}"):
        training(1, batch_size=batch_size, process_count=4)
    with pytest.raises(ValueError, match=rf"`batch_size` \(={batch_size}\).* 4 processes.*{nearest}"):
        evaluation(batch_size=batch_size, process_count=4)


def test_a_split_without_people_is_rejected():
    nobody = made_up_split(0)
    with pytest.raises(ValueError, match="split 'made_up' has no people to load"):
        training(1, nobody)
    with pytest.raises(ValueError, match="split 'made_up' has no people to load"):
        evaluation(nobody)


@pytest.mark.parametrize("broken", [b"", b"not a photo", coordinate_photo(0)[:30]])
@pytest.mark.parametrize("threads", [0, 2])
def test_the_error_names_a_broken_photo(broken, threads):
    split = made_up_split()
    split.photos[2]["image"] = broken
    with pytest.raises(ValueError, match=rf"photo 102 \({len(broken)} bytes\) cannot be decoded"):
        training(6, split, threads=threads)


def test_decode_gives_red_green_blue():
    photo = photo_records.decode(coordinate_photo(7), photo_id=7)
    np.testing.assert_array_equal(photo[20, 150], [150, 20, 7])


def test_decode_ignores_the_cameras_orientation():
    photo = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", photo)[1].tobytes()
    turn = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\0"
    exif = b"\xff\xe1" + (len(turn) + 8).to_bytes(2, "big") + b"Exif\0\0" + turn
    turned = jpeg[:2] + exif + jpeg[2:]
    assert np.array(cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)).shape == (32, 16, 3)
    np.testing.assert_array_equal(photo_records.decode(turned, photo_id=0), photo_records.decode(jpeg, photo_id=0))
