"""Examination of prepared splits: whether their files are complete, and the annotations behind them."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets import records
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.datasets.records import SEEN, AnnotatedPeople, People
from hrnet_jax.doctor import boxes, coco_files, pictures, skeleton_files, splits, whole_photos
from hrnet_jax.doctor.findings import Examination, Finding, attempt, found
from hrnet_jax.evaluation import caveats
from hrnet_jax.skeletons import Skeleton

AGAIN = "prepare the split again: `python -m hrnet_jax.prepare ... --force`"
DECODE_AGAIN = "delete decoded.npy to do without, or do so and prepare with --decoded"
RECORD_ERRORS = Exception  # ArrayRecord and TFDS raise many kinds on damaged records
MADE_OF = ("summary.json", "people.npz", "skeleton.json", "photos/1.0.0")


class RecordStore:
    """A `PhotoStore` of the records of a split, by file name."""

    def __init__(self, path: pathlib.Path, photos: Sequence[dict], rows: dict[str, tuple[int, int]]):
        self.path = path
        self._photos, self._rows = photos, rows

    def find(self, file_name: str) -> str:
        """Returns the name itself: records are found by it."""
        return file_name

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
        except RECORD_ERRORS as error:
            raise OSError(f"record {row}: {error}") from error
        if record["photo_id"] != photo_id:
            raise OSError(f"record {row} is of photo {record['photo_id']}, not of {photo_id}")
        return record["image"]


def is_split(directory: pathlib.Path) -> bool:
    """Whether a directory looks like a prepared split, complete or not."""
    return sum((directory / name).exists() for name in MADE_OF) > 1


def examine(directory: pathlib.Path, part: Examination) -> None:
    """Examines a prepared split."""
    opened, summary = _opened(directory)
    file = directory / "skeleton.json"
    read, damaged = attempt(lambda: skeleton_files.read(str(file)), "skeleton", file.name, AGAIN)
    skeleton, about = read or (None, damaged)
    truth, _ = attempt(lambda: _truth(directory), "annotations_unreadable", directory.name, AGAIN)
    part.add(directory, truth or {}, about + opened)
    if summary is None or skeleton is None:
        return
    of_coco = records.dataset(summary) == "coco"
    people_file = directory / "people.npz"
    people, about_table = _table(people_file, skeleton)
    file, table, annotations, about = people_file, None, None, []
    if of_coco:
        file = directory / "annotations.json"
        with_people = summary["people"] > 0  # only a test server's split has none, and it has no keypoints either
        annotations, table, about = coco_files.read(file, skeleton, with_people=with_people)
        table = table if annotations else None
    elif people:
        table = _annotated(people)
    photo_list, damaged = attempt(
        lambda: photo_records.read(directory), "records_damaged", "photos", AGAIN, RECORD_ERRORS
    )
    photo_list = photo_list or ()
    photos = dict(sorted(annotations.photos.items())) if annotations else _photos_of(photo_list, people)
    part.add(file, {}, about)
    meant, as_meant = _meant(part, directory, photo_list, photos, (file, table), skeleton, squares=not of_coco)
    if annotations and meant is not None:
        part.add(file, {}, coco_files.limit(annotations, skeleton, meant, as_meant))
    part.add(directory, {}, damaged)
    if of_coco:
        part.add(directory, *whole_photos.examine(directory))
    if people is not None:
        about_table += _counts(people, "people", summary) + (_agree(people, table) if table is not None else [])
    part.add(people_file, {}, about_table)
    if summary.get("detections") is not None:
        file = directory / "detections.npz"
        detections, about = _table(file, skeleton)
        part.add(file, {}, about)
        if detections is not None:
            part.add(file, {}, _counts(detections, "detections", summary))
            part.add(file, *boxes.examine(detections, photos, meant))


def _truth(directory: pathlib.Path) -> dict[str, str]:
    """Returns the fact of what the people of a split would score as predictions."""
    found = caveats.truth_of_split(records.open_split(directory, with_pixels=False))
    return {"truth": f"taken as predictions, {found}"} if found else {}


def _opened(directory: pathlib.Path) -> tuple[list[Finding], dict | None]:
    """Opens the split as training does. The decoded photos are checked separately: training can do without."""
    read, name = records.open_split, directory.name
    summary, findings = attempt(lambda: records.read_summary(directory), "split_unfinished", "summary.json", AGAIN)
    if summary is None:
        return findings, None
    _, findings = attempt(lambda: read(directory, with_pixels=False), "split_refused", name, AGAIN, RECORD_ERRORS)
    if findings:
        return findings, summary
    other, findings = attempt(lambda: _pixels(read(directory)), "pixels_damaged", name, DECODE_AGAIN, ValueError)
    return findings + (other or []), summary


def _pixels(split: records.Split) -> list[Finding]:
    """Compares the decoded photos, if any, with the records they were made from."""
    kept = split.decoded
    if kept is None:
        return []

    def differs(row: int) -> bool:
        try:
            record = split.photos[row]
            photo = photo_records.decode(record["image"], photo_id=record["photo_id"])
        except RECORD_ERRORS:  # these have a finding of their own
            return False
        return record["photo_id"] == kept.photo_id[row] and not np.array_equal(photo, kept[row])

    rows = range(len(kept))
    different = pictures.in_threads(differs, rows, "decoded")
    other = [int(kept.photo_id[row]) for row, differ in zip(rows, different, strict=True) if differ]
    what = "{count} of {of} decoded photos differ from their records"
    return found("pixels_damaged", "error", other, what, DECODE_AGAIN, of=len(rows))


def _table(path: pathlib.Path, skeleton: Skeleton) -> tuple[People | None, list[Finding]]:
    return attempt(lambda: records.read_table(path, skeleton), "table_damaged", path.name, AGAIN)


def _annotated(people: People) -> AnnotatedPeople:
    """Fills in the columns that a prepared split does not keep."""
    return AnnotatedPeople(
        **vars(people) | {"joints": np.where(people.visible[..., None] > 0, people.joints, 0.0)},
        area=np.prod(people.box[:, 2:], axis=1),
        crowd=np.zeros(len(people), bool),
        flags=np.where(people.visible == 1, SEEN, people.visible),
    )


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


def _meant(
    part: Examination,
    directory: pathlib.Path,
    photo_list: Sequence[dict],
    photos: Mapping[int, Photo],
    located: tuple[pathlib.Path, AnnotatedPeople | None],
    skeleton: Skeleton,
    *,
    squares: bool,
) -> tuple[AnnotatedPeople | None, Mapping[int, Photo]]:
    """Examines all records and the people in a file. Returns the people and photos as meant."""
    count, looks, (file, table) = len(photo_list), {}, located
    other = ["photos"] * (0 < count != len(photos))
    what = f"there are {count:,} records of photos, but {len(photos):,} photos in the annotations"
    part.add(directory, {}, found("records_damaged", "error", other, what, AGAIN))
    rows = {photo.file_name: (row, number) for row, (number, photo) in enumerate(photos.items())}
    store = RecordStore(directory / "photos", photo_list, rows)
    if count:
        looks, photos, about = splits.examine_photos(part, store, photos)
        part.add(directory, {}, about)
    if table is not None:
        table, photos = splits.examine_annotations(part, file, table, skeleton, photos, squares=squares)
    if table is not None and len(table) and looks:
        part.add(directory, *splits.examine_colours(table, skeleton, photos, store, looks))
    return table, photos


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
