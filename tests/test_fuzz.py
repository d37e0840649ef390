"""Every reader, given randomly damaged files, returns a valid result or an error that names the file.

``HYPOTHESIS_PROFILE=long pytest -s tests/test_fuzz.py`` tries ten thousand files per reader, and counts them.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import forking
import made_coco
import made_junk
import made_mpii
import made_weights
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hrnet_jax import console, prepare, skeletons
from hrnet_jax.datasets import coco, detections, matlab, mpii, photo_stores, records
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.evaluation import ground_truth
from hrnet_jax.skeletons import COCO, MPII
from hrnet_jax.torch_interop import state_dict

pytestmark = pytest.mark.long

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
COUNT = {"quick": 60, "long": 10_000}[PROFILE]
KEPT = 60  # files that are read again
ROUNDS = {"quick": 3, "long": 30}[PROFILE]
GROWTH = 8 * 2**20  # bytes of memory that reading them again may add

FUZZ = settings(
    max_examples=COUNT,
    derandomize=True,
    database=None,
    deadline=5000,  # ms for one file
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def annotations(path: pathlib.Path) -> None:
    loaded = coco.load(path, COCO)
    for photo in loaded.photos.values():
        assert 0 < min(photo.width, photo.height) <= max(photo.width, photo.height) <= photo_records.MAX_SIDE
        assert pathlib.Path("/photos", os.path.normpath(f"/photos/{photo.file_name}")).is_relative_to("/photos")
    people, _ = coco.select_people(loaded, COCO)
    check_people(people, COCO)
    truth = path.with_name("truth.json")
    truth.write_text(json.dumps(coco.ground_truth(loaded, list(loaded.photos)), allow_nan=False))
    ground_truth.load(truth)


def truth(path: pathlib.Path) -> None:
    for people in ground_truth.load(path).people.values():
        assert np.isfinite(people.box).all() and np.isfinite(people.area).all()


def boxes(path: pathlib.Path) -> None:
    photos = {number: photo_stores.Photo(number, f"{number}.jpg", 64, 48) for number in (10, 20)}
    known = coco.Annotations(path, {"id": 1}, photos, {}, [])
    check_people(detections.load(path, known, COCO)[0], COCO)


def mpii_people(path: pathlib.Path) -> None:
    check_people(mpii.select_people(mpii.load(path, MPII))[0], MPII)


def mpii_truth(path: pathlib.Path) -> None:
    read = mpii.read_truth(path, MPII)
    assert read.joints.shape[1:] == (MPII.num_joints, 2) and np.isfinite(read.head_boxes).all()


def skeleton(path: pathlib.Path) -> None:
    read = skeletons.load(path)
    assert sorted(read.flip_order) == list(range(read.num_joints)) and min(read.sigmas) > 0
    skeletons.save(read, path.with_name("again.json"))
    assert skeletons.load(path.with_name("again.json")) == read


def photo(path: pathlib.Path) -> None:
    place = photo_stores.Folder(path.parent, path.parent)
    image, (width, height), problem, _ = photo_stores.read_checked(place, photo_stores.Photo(1, path.name))
    assert problem or (image and width * height <= photo_records.MAX_PIXELS)


def photos_in_a_zip_file(path: pathlib.Path) -> None:
    zipped = photo_stores.Zip(path)
    for number in (10, 20):
        image, _, problem, _ = photo_stores.read_checked(zipped, photo_stores.Photo(number, f"{number:012d}.jpg"))
        assert problem or image == made_coco.photo(number)


def weights(path: pathlib.Path) -> None:
    assert all(isinstance(tensor, np.ndarray) for tensor in state_dict.read(path).tensors.values())


def check_people(people: records.People, skeleton: skeletons.Skeleton) -> None:
    shapes = {"box": (4,), "joints": (skeleton.num_joints, 2), "visible": (skeleton.num_joints,)}
    for name, column in vars(people).items():
        assert column.shape == (len(people), *shapes.get(name, ())) and np.isfinite(column).all()
        assert column.dtype == (np.int64 if name.endswith(("id", "index")) else np.float64)


def split(path: pathlib.Path) -> None:
    """Reads the whole split of a file. Its photos must be those that were written."""
    directory = next(parent for parent in path.parents if parent.name == "val2017")
    opened = records.open_split(directory)
    for people in filter(None, (opened.people, opened.detections)):
        check_people(people, COCO)
    for pixels in (None, opened.decoded):
        source = records.PersonSource(opened.photos, opened.people, pixels)
        for row in range(len(source)):
            np.testing.assert_array_equal(source[row]["photo"], PIXELS[int(opened.people.photo_id[row])])


PIXELS = {number: photo_records.decode(made_coco.photo(number), photo_id=number) for number in (10, 20)}
SKELETON = {
    "name": "dog",
    "joints": ["nose", "left_ear", "right_ear"],
    "flip_pairs": [["left_ear", "right_ear"]],
    "limbs": [["nose", "left_ear"], ["nose", "right_ear"]],
    "sigmas": [0.03, 0.04, 0.04],
    "upper_body": ["nose"],
}


def writer(name: str, content: Any) -> Callable[[pathlib.Path], pathlib.Path]:
    """Writes bytes, or a document as JSON."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return folder / name

    return make


def mat_file(folder: pathlib.Path) -> pathlib.Path:
    made_mpii.write(folder)
    return made_mpii.write_truth(folder)


def zip_file(folder: pathlib.Path) -> pathlib.Path:
    return made_coco.write(folder, made_coco.content([10, 20]), zipped=True) / "val2017.zip"


def safetensors(folder: pathlib.Path) -> pathlib.Path:
    return made_weights.file(folder / "x.safetensors", {"conv1.weight": np.ones((2, 3), np.float32)})


def part_of_a_split(pattern: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """Prepares a split and returns one of its files."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        root = made_coco.write(folder / "root", made_coco.content([10, 20]))
        found = made_coco.boxes(folder, [made_coco.box(20), made_coco.box(10)])
        prepare.prepare_coco(root, folder / "out", detections=found, decode=True)
        return next((folder / "out" / "val2017").glob(pattern))

    return make


READERS = {
    "annotations": (writer("file.json", made_coco.content([10, 20])), annotations),
    "ground truth": (writer("file.json", made_coco.content([10, 20])), truth),
    "detector": (writer("file.json", [made_coco.box(10), made_coco.box(20)]), boxes),
    "people of MPII": (writer("file.json", made_mpii.people(2)), mpii_people),
    "truth of MPII": (mat_file, mpii_truth),
    "skeleton": (writer("file.json", SKELETON), skeleton),
    "JPEG": (writer("file.jpg", made_coco.photo(1)), photo),
    "PNG": (writer("file.jpg", made_coco.photo(1, ".png")), photo),
    "zip": (zip_file, photos_in_a_zip_file),
    "safetensors": (safetensors, weights),
    "summary": (part_of_a_split("summary.json"), split),
    "skeleton of a split": (part_of_a_split("skeleton.json"), split),
    "people": (part_of_a_split("people.npz"), split),
    "records": (part_of_a_split("photos/1.0.0/*array_record*"), split),
    "notes on records": (part_of_a_split("photos/1.0.0/dataset_info.json"), split),
    "features of records": (part_of_a_split("photos/1.0.0/features.json"), split),
    "decoded photos": (part_of_a_split("decoded.npy"), split),
}
"""By name: a writer of a valid file into a folder, and a reader that checks the result."""


def damaged_files(path: pathlib.Path) -> st.SearchStrategy[bytes]:
    """Returns a strategy of damaged contents of a file."""
    good = path.read_bytes()
    special = {".json": lambda: made_junk.documents(json.loads(good)), ".npz": lambda: made_junk.tables(good)}
    return made_junk.damaged(good) | special.get(path.suffix, lambda: st.nothing())()


def is_refused(read: Callable[[pathlib.Path], None], path: pathlib.Path) -> bool:
    """Reads a file, and returns whether it was refused, by an error of ours that names the file or photo."""
    try:
        read(path)
        return False
    except (ValueError, OSError) as error:
        message = str(error)
        where = next((parent for parent in path.parents if parent.name == "val2017"), path)
        assert console.is_user_error(error), repr(error)
        assert str(where) in message or "photo" in message, message
        assert len(message) < 2000, message
        return True


def memory() -> int:
    """This process's own memory in bytes."""
    _, _, rest = pathlib.Path("/proc/self/status").read_text().partition("RssAnon:")
    return int(rest.split()[0]) * 1024


@pytest.fixture
def forked(monkeypatch):
    """Starts the subprocesses that read MATLAB files faster."""
    with contextlib.closing(forking.Server(["scipy.io"])) as server:
        monkeypatch.setattr(matlab, "subprocess", server)
        yield


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    make, read = READERS[name]
    path = make(tmp_path)
    read(path)  # as it should be
    refused, kept = [], []

    @given(damaged_files(path))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        refused.append(is_refused(read, path))
        kept.append(content) if len(kept) < KEPT else None

    FUZZ(check)()
    before = memory()
    for content in kept * ROUNDS:
        path.write_bytes(content)
        is_refused(read, path)
    growth = memory() - before
    counts = f"{len(refused):,} files, {sum(refused):,} refused"
    print(f"\n{name}: {counts}; memory {growth / 2**20:+.1f} MB in {ROUNDS} rounds")
    assert growth < GROWTH
