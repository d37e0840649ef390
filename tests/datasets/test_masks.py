import json

import made_coco
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO as CocoApi

from hrnet_jax import prepare
from hrnet_jax.datasets import annotations, masks, photo_stores, records
from hrnet_jax.skeletons import COCO

SIZE = (made_coco.HEIGHT, made_coco.WIDTH)
SQUARE = [[10, 5, 30, 5, 30, 25, 10, 25]]
BOX = (slice(5, 45), slice(10, 40))  # of `made_coco.person`
NO_JOINTS = [0] * 51


def run_lengths(mask: np.ndarray) -> list[int]:
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
    return np.diff(edges, prepend=0).tolist()


def boxed() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[BOX] = True
    return mask


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SIZE) < 0.3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("as_text", [False, True])
def test_run_lengths_are_those_of_pycocotools(seed, as_text):
    expected = noise(seed)
    text = coco_mask.encode(np.asfortranarray(expected.astype(np.uint8)))["counts"].decode()
    segmentation = {"size": [*SIZE], "counts": text if as_text else run_lengths(expected)}
    np.testing.assert_array_equal(masks.region({"segmentation": segmentation, "bbox": [0] * 4}, SIZE), expected)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # in pycocotools
def test_polygons_are_those_of_pycocotools_together(shared):
    path = shared / "real" / "coco_mini" / "annotations" / "person_keypoints_train2017.json"
    api = CocoApi(str(path))
    entries = [entry for entry in api.anns.values() if not entry["iscrowd"]]
    for entry in entries:
        photo = api.imgs[entry["image_id"]]
        found = masks.region(entry, (photo["height"], photo["width"]))
        np.testing.assert_array_equal(found, api.annToMask(entry) > 0)
    assert len(entries) > 50


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[1, 2]],
        [["x"] * 6],
        [[1e12] * 6],
        3,
        {"counts": [1, 2], "size": [*SIZE]},
        {"counts": [-1, SIZE[0] * SIZE[1] + 1], "size": [*SIZE]},
        {"counts": [SIZE[0] * SIZE[1]], "size": [1, 2]},
        {"counts": "99999999999999", "size": [*SIZE]},
        {"counts": None, "size": [*SIZE]},
        {},
    ],
    ids=str,
)
def test_a_region_without_a_usable_outline_is_its_box(segmentation):
    found = masks.region(made_coco.person(1, 1, segmentation=segmentation), SIZE)
    np.testing.assert_array_equal(found, boxed())


def test_outlines_far_outside_are_drawn_at_once():
    found = masks.region(made_coco.person(1, 1, segmentation=[[-9e8, -9e8, 9e8, -9e8, 9e8, 9e8, -9e8, 9e8]]), SIZE)
    assert found.all()


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        ({}, False),
        ({"num_keypoints": 3}, False),
        ({"num_keypoints": 0}, True),
        ({"keypoints": NO_JOINTS}, True),
        ({"keypoints": NO_JOINTS, "num_keypoints": 2}, False),
        ({"iscrowd": 1, "num_keypoints": 2}, True),
    ],
)
def test_crowds_and_people_without_joints_do_not_count(tmp_path, changes, ignored):
    content = made_coco.content([7])
    content["annotations"].append(made_coco.person(1, 7, segmentation=SQUARE, **changes))
    mask = prepared(tmp_path, content).of_photo(7, SIZE)
    expected = np.full(SIZE, masks.COUNTS)
    expected[5:25, 10:30] = masks.IGNORED if ignored else masks.COUNTS
    np.testing.assert_array_equal(mask, expected)


def prepared(tmp_path, content, split="val2017") -> masks.Masks:
    prepare.prepare_coco(made_coco.write(tmp_path / "root", content, split), tmp_path / "out")
    return masks.read(tmp_path / "out" / split)


def test_every_photo_has_its_own_regions(tmp_path):
    content, expected = made_coco.content([30, 10, 20]), {}
    for number in (10, 30):
        expected[number] = noise(number) | noise(number + 1)
        for part in (0, 1):
            segmentation = {"size": [*SIZE], "counts": run_lengths(noise(number + part))}
            changes = {"iscrowd": 1 - part, "keypoints": NO_JOINTS, "segmentation": segmentation}
            content["annotations"].append(made_coco.person(1000 * number + part, number, **changes))
    found = prepared(tmp_path, content)
    for number in (10, 20, 30):
        wanted = np.where(expected.get(number, False), masks.IGNORED, masks.COUNTS)
        np.testing.assert_array_equal(found.of_photo(number, SIZE), np.broadcast_to(wanted, SIZE))


def test_training_keeps_photos_with_annotations_of_any_kind(tmp_path):
    content = made_coco.content([1, 2, 3, 4, 5])
    content["annotations"][1].update(iscrowd=1)
    content["annotations"][2].update(keypoints=NO_JOINTS)
    content["annotations"][3].update(category_id=2)
    del content["annotations"][4]
    prepared(tmp_path, content, "train2017")
    split = records.open_split(tmp_path / "out" / "train2017")
    assert [split.photos[row]["photo_id"] for row in range(len(split.photos))] == [1, 2, 3]
    assert split.people.photo_id.tolist() == [1]
    assert [image["id"] for image in json.loads(split.annotations.read_text())["images"]] == [1, 2, 3]


def test_photos_of_crowdpose_count_whole(tmp_path):
    content = made_coco.content([7])
    content["annotations"] += [made_coco.person(1, 7, iscrowd=1)]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    (tmp_path / "images").mkdir()
    store = photo_stores.open_store(tmp_path / "images", tmp_path)
    for published, ignored in (("crowdpose", 0), ("ochuman", 1200)):
        sources = annotations.Sources("coco", "train", path, store, published=published)
        annotations.read(sources, COCO).write_truth(tmp_path, [7])
        assert (masks.read(tmp_path).of_photo(7, SIZE) == masks.IGNORED).sum() == ignored


def test_masks_of_an_earlier_version_are_missed(tmp_path):
    prepared(tmp_path, made_coco.content([7]))
    directory = tmp_path / "out" / "val2017"
    (directory / masks.FILE).unlink()
    with pytest.raises(ValueError, match=r"val2017 has no masks.npz, .*earlier version.*again, with --force"):
        masks.read(directory)


def test_damaged_masks_are_refused(tmp_path):
    path = tmp_path / masks.FILE
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"masks.npz is damaged"):
        masks.read(tmp_path)
    columns = {"photo_id": [2, 1], "start": [0, 0], "stop": [1, 1]}
    save(path, **columns)
    with pytest.raises(ValueError, match=r"masks.npz is damaged \(`photo_id` is not ascending"):
        masks.read(tmp_path)
    for wrong in ({"start": [-1, 0]}, {"stop": [9999, 1]}):
        save(path, **columns | {"photo_id": [1, 1]} | wrong)
        with pytest.raises(ValueError, match=r"the mask of photo 1 is larger than the photo"):
            masks.read(tmp_path).of_photo(1, SIZE)


def save(path, photo_id, start, stop) -> None:
    np.savez(path, photo_id=np.int64(photo_id), start=np.int32(start), stop=np.int32(stop))
