"""A prepared split: photos as records, the people on them as arrays, and how to read them.

``OUT/<split>/`` holds ``photos/`` (see `photos`), ``people.npz`` (ground truth, in the order in which the
original walks through the annotations), ``detections.npz`` (if a detector's boxes were given), the photos' pixels
(if asked for, see `decoded`), ``skeleton.json``, ``summary.json``, which is written last, and what the data set's
figures are computed from: ``annotations.json`` (COCO ground truth for pycocotools, without outlines), or
``pckh.npz`` (MPII's joints and heads, if MATLAB's file with them was there; see `mpii.Truth`).
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from hrnet_jax import skeletons, validation
from hrnet_jax.datasets import decoded as decoded_photos
from hrnet_jax.datasets import photo_stores
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.skeletons import Skeleton

FORMAT = 1  # in summary.json: raised when a split written before can no longer be read
DIGEST_BYTES = 2**16  # of each end of a file of photo records, read for `digest`
TRUTH = {"coco": "annotations.json", "mpii": "pckh.npz"}  # by data set: what its figures are computed from
PRECISION = {"coco": np.float32, "mpii": np.float64}  # by data set: of crops' centre and scale in the original
PREPARE = "`python -m hrnet_jax.prepare {dataset} --root DIR --out {out} --splits {split}`"


@dataclasses.dataclass(frozen=True)
class People:
    """A table of N people with K joints, a row for each.

    Attributes:
      photo_index: [N] int64 row of the photo in the split's photos.
      photo_id: [N] int64 the annotation file's id of the photo.
      annotation_id: [N] int64 the annotation file's id of the person (MPII: its row, from 1), 0 for detections.
      box: [N, 4] float64 x, y, width, height in photo pixels; cut off at the border for COCO's ground truth, the
        square that MPII's centre and scale stand for, as the detector gave it for detections.
      joints: [N, K, 2] float64 photo pixels; 0 for detections.
      visible: [N, K] float64, 1 for joints that are labelled, hidden or not, else 0; 1 for detections, as in
        the original.
      score: [N] float64 the detector's, 1 for ground truth.
    """

    photo_index: np.ndarray
    photo_id: np.ndarray
    annotation_id: np.ndarray
    box: np.ndarray
    joints: np.ndarray
    visible: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.photo_id)


@dataclasses.dataclass(frozen=True)
class Split:
    """A prepared split, opened.

    Attributes:
      name: such as ``val2017``.
      photos: random access to ``{"photo_id", "file_name", "width", "height", "image"}``, ascending by photo id;
        the image is encoded bytes, the file name bytes too.
      people: ground truth.
      detections: a detector's boxes, None if none were given.
      annotations: the file that the figures are computed from, see `TRUTH`; MPII's may not be there.
      skeleton: what the people are made of.
      summary: which data set it is of, what was kept, what was dropped and why, and from which files it came.
      decoded: the photos' pixels, None if they were not kept.
    """

    name: str
    photos: Sequence[dict]
    people: People
    detections: People | None
    annotations: pathlib.Path
    skeleton: Skeleton
    summary: dict
    decoded: decoded_photos.Decoded | None = None


@dataclasses.dataclass(frozen=True)
class PersonSource:
    """People one by one, for random access by grain: a person with the photo."""

    photos: Sequence[dict]
    people: People
    decoded: decoded_photos.Decoded | None = None

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> dict:
        """Returns photo [height, width, 3] uint8, joints [K, 2], visible [K], box [4] and the row's `index`.

        Raises:
          ValueError: the photo cannot be decoded.
        """
        people = self.people
        return {
            "photo": read_photo(self.photos, self.decoded, people, index),
            "joints": people.joints[index],
            "visible": people.visible[index],
            "box": people.box[index],
            "index": index,
        }


def read_photo(
    photos: Sequence[dict], pixels: decoded_photos.Decoded | None, people: People, index: int
) -> np.ndarray:
    """Returns a person's photo, from the decoded photos if there are any, else from the records.

    Returns:
      [height, width, 3] uint8, RGB.

    Raises:
      ValueError: the photo cannot be read or decoded, or is another one than the person's.
    """
    row, photo_id = int(people.photo_index[index]), int(people.photo_id[index])
    if pixels is not None:
        return pixels[row]
    record = photos[row]
    if record["photo_id"] != photo_id:
        raise ValueError(
            f"record {row} is of photo {record['photo_id']}, not {photo_id}: the records are not those of the"
            " people, prepare the split again, with --force"
        )
    return photo_stores.decode(record["image"], photo_id=photo_id)


def on_photos(people: People, photo_ids: Sequence[int]) -> People:
    """Keeps the people whose photo is among `photo_ids` (ascending) and numbers their photos accordingly."""
    rows = {photo_id: row for row, photo_id in enumerate(photo_ids)}
    index = np.array([rows.get(photo_id, -1) for photo_id in people.photo_id.tolist()], np.int64)
    kept = {name: column[index >= 0] for name, column in vars(people).items()}
    return People(**{**kept, "photo_index": index[index >= 0]})


def read_summary(directory: str | os.PathLike) -> dict:
    """Reads the summary of a prepared split.

    Raises:
      FileNotFoundError: there is no such directory.
      ValueError: it is no prepared split, or one that another version of this package wrote.
    """
    directory = pathlib.Path(directory)
    command = PREPARE.format(dataset="coco", out=directory.parent, split=directory.name)
    command += " (for MPII, `mpii` instead of `coco`)"
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist: prepare the data with {command}")
    path = directory / "summary.json"
    if not path.is_file():
        inside = sorted(str(found.parent) for found in directory.glob("*/summary.json"))
        meant = f"did you mean {' or '.join(inside)}?" if inside else f"prepare it with {command}"
        raise ValueError(f"{directory} is not a prepared split (it has no summary.json): {meant}")
    try:
        summary = validation.read_json(path)
        found = validation.require(summary, "format", int, "it")
        if found == FORMAT:
            _check_summary(summary)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): prepare the split again with {command}") from error
    if found != FORMAT:
        raise ValueError(f"{path}: `format` (={found}) must be {FORMAT}: prepare the split again with {command}")
    return summary


def _check_summary(summary: dict) -> None:
    """Raises ValueError unless a summary holds all that is asked of it, see `writing`."""
    if summary.get("dataset", "coco") not in [*TRUTH]:
        raise ValueError(f"`dataset` (={validation.short_repr(summary['dataset'])}) is none of {', '.join(TRUTH)}")
    for name in ("photos", "people", *["detections"] * (summary.get("detections", 0) is not None)):
        validation.require(summary, name, int, "it")
    for name in ("photos_dropped", "people_dropped", "detections_dropped"):
        for reason in validation.require(summary, name, dict, "it"):
            validation.require(summary[name], reason, int, f"`{name}`")
    unreadable = validation.require(summary, "photos_unreadable", dict, "it")
    validation.require(unreadable, "count", int, "`photos_unreadable`")
    validation.names(validation.require(unreadable, "examples", list, "`photos_unreadable`"), "`examples`")
    for number in validation.require(unreadable, "ids", list, "`photos_unreadable`"):
        validation.require({"id": number}, "id", int, "`photos_unreadable`")
    for name, source in validation.require(summary, "sources", dict, "it").items():
        if name != "photos" and source is not None:
            validation.require(source, "sha256", str, f"`sources`: {validation.short_repr(name)}")


def dataset(summary: dict) -> str:
    """Returns which data set a split's summary is of, a key of `TRUTH`; before MPII there was only COCO."""
    return summary.get("dataset", "coco")


def open_split(directory: str | os.PathLike, *, with_pixels: bool = True) -> Split:
    """Opens a split that `hrnet_jax.prepare` wrote.

    Args:
      directory: such as ``data/coco/val2017``.
      with_pixels: whether to look for decoded photos.

    Raises:
      FileNotFoundError: there is no such directory.
      ValueError: it is no prepared split, an incomplete one, or one of another version.
    """
    directory = pathlib.Path(directory)
    summary = read_summary(directory)
    people_files = ["people.npz"] + ["detections.npz"] * (summary["detections"] is not None)
    truth = TRUTH[dataset(summary)]
    has_truth = truth == TRUTH["coco"] or "truth" in summary["sources"]
    needed = ["photos/1.0.0/dataset_info.json", *[truth] * has_truth, "skeleton.json", *people_files]
    missing = [name for name in needed if not (directory / name).is_file()]
    if missing:
        raise ValueError(
            f"{directory} is incomplete, {', '.join(missing)} is missing: prepare it again with "
            + PREPARE.format(dataset=dataset(summary), out=directory.parent, split=directory.name) + " --force"
        )  # fmt: skip
    photos, skeleton = photo_records.read(directory), skeletons.load(directory / "skeleton.json")
    tables = [_read_people(directory / name, len(photos), skeleton) for name in people_files]
    _check_counts(directory, summary, [len(photos), *map(len, tables)])
    photo_index, photo_id = (np.concatenate([getattr(t, n) for t in tables]) for n in ("photo_index", "photo_id"))
    return Split(
        name=directory.name,
        photos=photos,
        people=tables[0],
        detections=tables[1] if len(tables) > 1 else None,
        annotations=directory / truth,
        skeleton=skeleton,
        summary=summary,
        decoded=decoded_photos.read(directory, photo_index, photo_id) if with_pixels else None,
    )


def _check_counts(directory: pathlib.Path, summary: dict, counts: list[int]) -> None:
    """Raises ValueError unless there are as many photos, people and detections as the summary says."""
    found = dict(zip(("photos", "people", "detections"), counts, strict=False))
    if wrong := [
        f"{count} {name}, not {summary[name]}" for name, count in found.items() if count != summary[name]
    ]:
        raise ValueError(f"{directory} holds {', '.join(wrong)}: prepare the split again, with --force")


def read_table(path: pathlib.Path, skeleton: Skeleton) -> People:
    """Reads a table of people as it stands.

    Raises:
      ValueError: the file is damaged, or holds other columns.
    """
    joints = skeleton.num_joints
    columns = {
        **dict.fromkeys(("photo_index", "photo_id", "annotation_id"), (np.int64, ())),
        "box": (np.float64, (4,)),
        "joints": (np.float64, (joints, 2)),
        "visible": (np.float64, (joints,)),
        "score": (np.float64, ()),
    }
    return validation.read_arrays(path, People, columns)


def _read_people(path: pathlib.Path, photos: int, skeleton: Skeleton) -> People:
    """Reads a table of people on that many photos, and checks it."""
    people = read_table(path, skeleton)
    index, floats = people.photo_index, (people.box, people.joints, people.visible, people.score)
    if not all(np.isfinite(column).all() for column in floats):
        raise ValueError(f"{path} is damaged (not all is finite): prepare the split again, with --force")
    if len(index) and not 0 <= index.min() <= index.max() < photos:
        raise ValueError(f"{path} is of more than {photos} photos: prepare the split again, with --force")
    return people


def digest(split: Split) -> str:
    """Returns a digest of a split: skeleton, people, annotations; of long files of photos, size and both ends.

    Pixels decoded once are made of the photos, and do not count.
    """
    digest = hashlib.sha256(repr(split.skeleton).encode())
    if split.annotations.is_file():
        with split.annotations.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for name, column in vars(split.people).items():
        digest.update(name.encode() + column.tobytes())
    for path in sorted((split.annotations.parent / "photos").rglob("*.array_record*")):
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(f"{path.name} {size}\n".encode() + file.read(DIGEST_BYTES))
            file.seek(max(0, size - DIGEST_BYTES))
            digest.update(file.read(DIGEST_BYTES))
    return digest.hexdigest()[:16]
