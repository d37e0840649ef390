"""Prepared splits: photos as records, the people on them as arrays. ``OUT/<split>/`` holds

- ``photos/``, see `photos`;
- ``people.npz``: ground truth, in the original's order;
- ``masks.npz``: the pixels that do not count when training on whole photos, see `masks` (not for MPII);
- ``detections.npz``, if a detector's file was given;
- ``decoded.rgb`` and ``decoded.npy``, if requested, see `decoded`;
- ``annotations.json`` (COCO's ground truth for pycocotools, without segmentations) or ``pckh.npz`` (MPII's ground
  truth, if its MATLAB file was given, see `mpii.Truth`);
- ``skeleton.json``, and ``summary.json``, written last.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import numpy as np

from hrnet_jax import skeletons, validation
from hrnet_jax.datasets import decoded as decoded_photos
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.skeletons import Skeleton

DIGEST_BYTES = 2**16  # of each end of a file of photo records, read for `digest`
FORMAT = 1  # in summary.json: incremented when older splits can no longer be read
TRUTH = {"coco": "annotations.json", "mpii": "pckh.npz"}  # by data set: the ground truth of the metrics
PRECISION = {"coco": np.float32, "mpii": np.float64}  # by data set: of centre and scale in the original
PREPARE = "`python -m hrnet_jax.prepare {dataset} --root DIR --out {out} --splits {split}`"
AGAIN = "prepare the split again, with --force"

HIDDEN, SEEN = 1, 2  # COCO's flags of labelled joints: occluded, visible


@dataclasses.dataclass(frozen=True)
class People:
    """A table of N people with K joints.

    Attributes:
      photo_index: [N] int64 row of the photo in the split's photos.
      photo_id: [N] int64 id of the photo in the annotation file.
      annotation_id: [N] int64 id of the person in the annotation file (MPII: row, from 1); 0 for detections.
      box: [N, 4] float64 x, y, width, height in photo pixels. Clipped to the photo for COCO's ground truth. The
        square of centre and scale for MPII. As in the detector's file for detections.
      joints: [N, K, 2] float64 photo pixels; 0 for detections.
      visible: [N, K] float64, 1 for labelled joints, occluded or not, else 0; 1 for detections as in the original.
        `flags.with_flags` makes it `HIDDEN` or `SEEN` for labelled joints.
      score: [N] float64, the detector's; 1 for ground truth.
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

    def select(self, rows: np.ndarray) -> Self:
        """Returns some rows, by a mask or by their numbers."""
        return dataclasses.replace(self, **{name: column[rows] for name, column in vars(self).items()})


@dataclasses.dataclass(frozen=True)
class AnnotatedPeople(People):
    """All people of an annotation file, with the columns that only validation and selection need.

    Attributes:
      area: [N] float64 square pixels.
      crowd: [N] bool.
      flags: [N, K] float64 as in the file: 0 for joints that are not labelled; COCO: `HIDDEN` or `SEEN`.
    """

    area: np.ndarray
    crowd: np.ndarray
    flags: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """[N, K] bool, from the flags."""
        return np.asarray(self.flags > 0)

    def to_people(self) -> People:
        """Returns the columns that a prepared split keeps."""
        return People(**{field.name: getattr(self, field.name) for field in dataclasses.fields(People)})


@dataclasses.dataclass(frozen=True)
class Split:
    """An opened prepared split.

    Attributes:
      name: such as ``val2017``.
      photos: random access to ``{"photo_id", "file_name", "width", "height", "image"}``, ascending by photo id.
        File name and image are bytes, the image still encoded.
      people: ground truth.
      detections: a detector's boxes, or None.
      annotations: the file of ground truth for the metrics, see `TRUTH`. It may be missing for MPII.
      skeleton: of the people.
      summary: the data set, counts of kept and dropped entries by reason, and digests of the source files.
      decoded: the photos' pixels, or None.
    """

    name: str
    photos: Sequence[dict]
    people: People
    detections: People | None
    annotations: pathlib.Path
    skeleton: Skeleton
    summary: dict
    decoded: decoded_photos.Decoded | None = None


class HasPhotos(Protocol):
    """A table with the row and the id of a photo in each row, such as `People`."""

    @property
    def photo_index(self) -> np.ndarray:
        """[N] int64 row in the split's photos."""
        ...

    @property
    def photo_id(self) -> np.ndarray:
        """[N] int64 id in the annotation file."""
        ...


@dataclasses.dataclass(frozen=True)
class PersonSource:
    """Random access by grain to people, each with the photo."""

    photos: Sequence[dict]
    people: People
    decoded: decoded_photos.Decoded | None = None

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> dict:
        """Returns photo [height, width, 3] uint8, joints [K, 2], visible [K], box [4] and the row's `index`.

        Raises ValueError if the photo cannot be decoded.
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
    photos: Sequence[dict], pixels: decoded_photos.Decoded | None, table: HasPhotos, index: int
) -> np.ndarray:
    """Returns the photo [height, width, 3] uint8, RGB, of a row, from the decoded photos if there are any.

    Raises ValueError if the photo cannot be read or decoded, or has another id than that of the row.
    """
    row, photo_id = int(table.photo_index[index]), int(table.photo_id[index])
    if pixels is not None:
        return pixels[row]
    record = photos[row]
    if record["photo_id"] != photo_id:
        problem = f"record {row} is of photo {record['photo_id']}, not {photo_id}"
        raise ValueError(f"{problem}: the records do not belong to the people, {AGAIN}")
    return photo_records.decode(record["image"], photo_id=photo_id)


def on_photos(people: People, photo_ids: Sequence[int]) -> People:
    """Keeps the people on the given photos (ascending ids), and sets `photo_index`."""
    rows = {photo_id: row for row, photo_id in enumerate(photo_ids)}
    index = np.array([rows.get(photo_id, -1) for photo_id in people.photo_id.tolist()], np.int64)
    return dataclasses.replace(people, photo_index=index).select(index >= 0)


def read_summary(directory: str | os.PathLike) -> dict:
    """Reads the summary of a prepared split.

    Raises FileNotFoundError if there is no such directory, and ValueError if it is not a prepared split, or of
    another version of this package.
    """
    directory = pathlib.Path(directory)
    command = PREPARE.format(dataset="coco", out=directory.parent, split=directory.name)
    command += " (for another data set, its name instead of `coco`)"
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist: prepare the data with {command}")
    path = directory / "summary.json"
    if not path.is_file():
        inside = sorted(str(found.parent) for found in directory.glob("*/summary.json"))
        advice = f"did you mean {' or '.join(inside)}?" if inside else f"prepare it with {command}"
        raise ValueError(f"{directory} is not a prepared split (it has no summary.json): {advice}")
    try:
        summary = validation.read_json(path)
        version = validation.require(summary, "format", int, "it")
        if version == FORMAT:
            _check_summary(summary)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): prepare the split again with {command}") from error
    if version != FORMAT:
        raise ValueError(f"{path}: `format` (={version}) must be {FORMAT}: prepare the split again with {command}")
    return summary


def _check_summary(summary: dict) -> None:
    """Raises ValueError unless all fields that `write_records` writes are valid."""
    if dataset(summary) not in [*TRUTH]:
        raise ValueError(f"`dataset` (={validation.short_repr(summary['dataset'])}) is none of {', '.join(TRUTH)}")
    for name in ("photos", "people", *["detections"] * (summary.get("detections", 0) is not None)):
        validation.require(summary, name, int, "it")
    for name in ("photos_dropped", "people_dropped", "detections_dropped", "people_missed"):
        for reason in validation.require({"people_missed": {}, **summary}, name, dict, "it"):
            validation.require(summary[name], reason, int, f"`{name}`")
    validation.require({"published": "", **summary}, "published", str, "it")
    _check_reports(summary)
    unreadable = validation.require(summary, "photos_unreadable", dict, "it")
    validation.require(unreadable, "count", int, "`photos_unreadable`")
    validation.names(validation.require(unreadable, "examples", list, "`photos_unreadable`"), "`examples`")
    for number in validation.require(unreadable, "ids", list, "`photos_unreadable`"):
        validation.require({"id": number}, "id", int, "`photos_unreadable`")
    for name, source in validation.require(summary, "sources", dict, "it").items():
        if name != "photos" and source is not None:
            validation.require(source, "sha256", str, f"`sources`: {validation.short_repr(name)}")


def _check_reports(summary: dict) -> None:
    """Checks what `prepare` says of the data. Splits of earlier versions lack it."""
    for kind in validation.require({"photos_odd": {}, **summary}, "photos_odd", dict, "it"):
        validation.names(summary["photos_odd"][kind], f"`photos_odd`: {validation.short_repr(kind)}")
    for row in validation.require({"photos_marked": [], **summary}, "photos_marked", list, "it"):
        if not isinstance(row, list) or len(row) != 5 or not all(isinstance(value, int) for value in row):
            raise ValueError(f"`photos_marked` (={validation.short_repr(row)}) must be rows of five integers")
    if "photos_renamed" in summary:
        renamed = validation.require(summary, "photos_renamed", dict, "it")
        count = validation.require(renamed, "count", int, "`photos_renamed`")
        if len(validation.names(renamed.get("examples"), "`photos_renamed`: `examples`")) < min(count, 1):
            raise ValueError("`photos_renamed` has no examples")
    for finding in validation.require({"findings": [], **summary}, "findings", list, "it"):
        for name in ("severity", "kind", "what", "remedy"):
            validation.require(finding, name, str, "`findings`")


def dropped_text(dropped: Mapping[str, int]) -> str:
    """Returns numbers of dropped entries by reason in words, "" for none."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    return reasons and f"   dropped: {reasons}"


def dataset(summary: dict) -> str:
    """Returns the data set of a split, a key of `TRUTH`. Splits from before MPII was supported lack the field."""
    return summary.get("dataset", "coco")


def published(summary: dict) -> str:
    """Returns the published data set of a split, a name in `catalog` or `TRUTH`."""
    return summary.get("published") or dataset(summary)


def open_split(directory: str | os.PathLike, *, with_pixels: bool = True) -> Split:
    """Opens a split that `hrnet_jax.prepare` wrote, such as ``data/coco/val2017``, also its decoded photos.

    Raises FileNotFoundError if there is no such directory, and ValueError if it is not a prepared split, or
    incomplete, damaged or of another version.
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
            + PREPARE.format(dataset=published(summary), out=directory.parent, split=directory.name) + " --force"
        )  # fmt: skip
    photos, skeleton = photo_records.read(directory), skeletons.load(directory / "skeleton.json")
    tables = [_read_people(directory / name, len(photos), skeleton) for name in people_files]
    counts = zip(("photos", "people", "detections"), map(len, (photos, *tables)), strict=False)
    wrong = [f"{count} {name}, not {summary[name]}" for name, count in counts if count != summary[name]]
    if wrong:
        raise ValueError(f"{directory} holds {', '.join(wrong)}: {AGAIN}")
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


def read_table(path: pathlib.Path, skeleton: Skeleton) -> People:
    """Reads a table of people, not checking values. Raises ValueError if it is damaged, or holds other columns."""
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
    """Reads and checks a table of people on the given number of photos."""
    people = read_table(path, skeleton)
    index, floats = people.photo_index, (people.box, people.joints, people.visible, people.score)
    if not all(np.isfinite(column).all() for column in floats):
        raise ValueError(f"{path} is damaged (a number is not finite): {AGAIN}")
    if len(index) and not 0 <= index.min() <= index.max() < photos:
        raise ValueError(f"{path} refers to more than {photos} photos: {AGAIN}")
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
