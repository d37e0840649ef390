"""Examination of prepared splits: whether their files are complete, and the annotations behind them."""

import concurrent.futures
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tqdm

from hrnet_jax.datasets import photo_stores, records
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.datasets.records import SEEN, AnnotatedPeople, People
from hrnet_jax.doctor import boxes, coco_files, skeleton_files, splits
from hrnet_jax.doctor.findings import Examination, Finding, found, with_location
from hrnet_jax.doctor.splits import Examined
from hrnet_jax.skeletons import Skeleton

AGAIN = "prepare the split again: `python -m hrnet_jax.prepare ... --force`"
DECODE_AGAIN = "delete decoded.npy to do without, or do so and prepare with --decoded"
MADE_OF = ("summary.json", "people.npz", "skeleton.json", "photos/1.0.0")


class RecordStore:
    """A `PhotoStore` of the records of a split, by file name."""

    def __init__(self, path: pathlib.Path, photos: Sequence[dict], rows: dict[str, tuple[int, int]]):
        self.path = path
        self._photos, self._rows = photos, rows

    def size(self, file_name: str) -> int:
        """Returns the encoded photo's bytes, 0 if its record cannot be read."""
        try:
            return len(self.read(file_name))
        except OSError:
            return 0

    def read(self, file_name: str) -> bytes:
        """Returns the encoded photo. Raises OSError if its record is damaged or of another photo."""
        row, photo_id = self._rows[file_name]
        try:
            record = self._photos[row]
        except Exception as error:  # ArrayRecord and TFDS raise many kinds
            raise OSError(f"record {row}: {error}") from error
        if record["photo_id"] != photo_id:
            raise OSError(f"record {row} is of photo {record['photo_id']}, not of {photo_id}")
        return record["image"]


def is_split(directory: pathlib.Path) -> bool:
    """Whether a directory looks like a prepared split, complete or not."""
    return sum((directory / name).exists() for name in MADE_OF) > 1


def examine(directory: pathlib.Path) -> Examined:
    """Examines a prepared split."""
    split = directory.name
    findings, summary = _opened(directory)
    skeleton, about = _skeleton(directory)
    findings = with_location([*about, *findings], directory, split)
    if summary is None or skeleton is None:
        return Examined(Examination(split, {}, findings), {})
    of_coco = records.dataset(summary) == "coco"
    people, lost = _table(directory / "people.npz", skeleton)
    table, annotations, about = None, None, []
    if of_coco:
        with_people = summary["people"] > 0  # only a test server's split has none, and it has no keypoints either
        annotations, table, about = coco_files.read(directory / "annotations.json", skeleton, with_people)
        table = table if annotations else None
    elif people:
        table = _annotated(people)
    file = directory / ("annotations.json" if of_coco else "people.npz")
    photo_list, about_records = _records(directory)
    photos = dict(sorted(annotations.photos.items())) if annotations else _photos_of(photo_list, people)
    facts, about_photos, names = _pictures(directory, photo_list, photos, table, skeleton)
    if table is not None and len(table) and table.labelled.any():
        more, about_people = splits.examine_people(table, skeleton, photos, squares=not of_coco)
        facts, about = facts | more, about + about_people
    if people is not None:
        lost += _counts(people, "people", summary) + (_agree(people, table) if table is not None else [])
    more, about_boxes = _detections(directory, summary, photos, table, skeleton)
    findings += with_location(about, file, split) + with_location(about_records + about_photos, directory, split)
    findings += with_location(lost, directory / "people.npz", split) + with_location(
        about_boxes, directory / "detections.npz", split
    )
    return Examined(Examination(split, facts | more, findings), names)


def _opened(directory: pathlib.Path) -> tuple[list[Finding], dict | None]:
    """Opens the split as training does. The decoded photos are checked separately: training can do without."""
    try:
        summary = records.read_summary(directory)
    except (ValueError, OSError) as error:
        return found("split_unfinished", "error", ["summary.json"], str(error), AGAIN), None
    try:
        records.open_split(directory, with_pixels=False)
    except Exception as error:  # TFDS raises many kinds on damaged records
        return found("split_refused", "error", [directory.name], str(error), AGAIN), summary
    try:
        return _pixels(records.open_split(directory)), summary
    except ValueError as error:
        return found("pixels_damaged", "error", [directory.name], str(error), DECODE_AGAIN), summary


def _pixels(split: records.Split) -> list[Finding]:
    """Compares the decoded photos, if any, with the records they were made from."""
    kept = split.decoded
    if kept is None:
        return []

    def differs(row: int) -> bool:
        try:
            record = split.photos[row]
            photo = photo_stores.decode(record["image"], photo_id=record["photo_id"])
        except Exception:  # TFDS raises many kinds; damaged records have a finding of their own
            return False
        return record["photo_id"] == kept.photo_id[row] and not np.array_equal(photo, kept[row])

    rows = range(len(kept))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        bar = tqdm.tqdm(pool.map(differs, rows), "decoded", len(rows), unit=" photos", leave=False, disable=None)
        other = [int(kept.photo_id[row]) for row, differ in zip(rows, bar, strict=True) if differ]
    what = "{count} of {of} decoded photos differ from their records"
    return found("pixels_damaged", "error", other, what, DECODE_AGAIN, of=len(rows))


def _skeleton(directory: pathlib.Path) -> tuple[Skeleton | None, list[Finding]]:
    try:
        return skeleton_files.read(str(directory / "skeleton.json"))
    except OSError as error:
        return None, found("skeleton", "error", ["skeleton.json"], str(error), AGAIN)


def _table(path: pathlib.Path, skeleton: Skeleton) -> tuple[People | None, list[Finding]]:
    try:
        return records.read_table(path, skeleton), []
    except (ValueError, OSError) as error:
        return None, found("table_damaged", "error", [path.name], str(error), AGAIN)


def _annotated(people: People) -> AnnotatedPeople:
    """Fills in the columns that a prepared split does not keep."""
    return AnnotatedPeople(
        **vars(people) | {"joints": np.where(people.visible[..., None] > 0, people.joints, 0.0)},
        area=np.prod(people.box[:, 2:], axis=1),
        crowd=np.zeros(len(people), bool),
        flags=np.where(people.visible == 1, SEEN, people.visible),
    )


def _records(directory: pathlib.Path) -> tuple[Sequence[dict], list[Finding]]:
    """Opens the records of the photos. Returns none if they are damaged."""
    try:
        return photo_records.read(directory), []
    except Exception as error:  # ArrayRecord raises many kinds on damaged records
        return (), found("records_damaged", "error", ["photos"], str(error), AGAIN)


def _photos_of(photo_list: Sequence[dict], people: People | None) -> dict[int, Photo]:
    """Returns the photos of a split without a list of them, in the order of its records, named by their ids.

    The ids are those of the people, or for photos without people, those in the records.
    """
    ids = dict(zip(people.photo_index.tolist(), people.photo_id.tolist(), strict=True)) if people else {}
    photos = {}
    for row in range(len(photo_list)):
        try:
            number = ids[row] if row in ids else int(photo_list[row]["photo_id"])
        except ValueError:  # damaged: there is a finding when its photo is read
            number = -1 - row
        photos[number] = Photo(number, f"photo {number}")
    return photos


def _pictures(
    directory: pathlib.Path,
    photo_list: Sequence[dict],
    photos: dict[int, Photo],
    table: AnnotatedPeople | None,
    skeleton: Skeleton,
) -> tuple[dict[str, str], list[Finding], dict[str, str]]:
    """Examines all records; returns facts, findings, and the photos' names by digest."""
    count = len(photo_list)
    if not count:
        return {}, [], {}
    other = ["photos"] * (count != len(photos))
    what = f"there are {count:,} records of photos, but {len(photos):,} photos in the annotations"
    findings = found("records_damaged", "error", other, what, AGAIN)
    rows = {photo.file_name: (row, number) for row, (number, photo) in enumerate(photos.items())}
    store = RecordStore(directory / "photos", photo_list, rows)
    looks, facts, about = splits.examine_photos(store, photos, directory.name)
    if table is not None and len(table):
        more, colours = splits.examine_colours(table, skeleton, photos, store, looks)
        facts, about = facts | more, about + colours
    return facts, findings + about, splits.named(photos, looks)


def _counts(people: People, name: str, summary: dict) -> list[Finding]:
    other = [name] * (summary.get(name) != len(people))
    what = f"there are {len(people):,} {name}, but summary.json says {summary.get(name)}"
    return found("counts", "error", other, what, AGAIN)


def _agree(people: People, table: AnnotatedPeople) -> list[Finding]:
    """Compares the people for training with the annotations for the metrics."""
    row = {number: row for row, number in enumerate(table.annotation_id.tolist())}
    rows = np.array([row.get(number, -1) for number in people.annotation_id.tolist()], int)
    same = rows >= 0
    known = rows[same]
    visible = people.visible[same]
    distance = np.abs(people.joints[same] - table.joints[known]).max(axis=-1) * visible
    same[same] = (
        (people.photo_id[same] == table.photo_id[known])
        & (distance < 0.01).all(axis=1)
        & ((table.flags[known] > 0) == (visible > 0)).all(axis=1)
    )
    what = "{count} of {of} people differ from the annotations that the metrics are computed from"
    return found("tables_differ", "error", people.annotation_id[~same], what, AGAIN, of=len(people))


def _detections(
    directory: pathlib.Path,
    summary: dict,
    photos: dict[int, Photo],
    table: AnnotatedPeople | None,
    skeleton: Skeleton,
) -> tuple[dict[str, str], list[Finding]]:
    if summary.get("detections") is None:
        return {}, []
    people, findings = _table(directory / "detections.npz", skeleton)
    if people is None:
        return {}, findings
    findings += _counts(people, "detections", summary)
    facts, about = boxes.examine(people, photos, table)
    return facts, findings + about
