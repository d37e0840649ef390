"""Examination of the data sets that `prepare` reads: COCO's and MPII's layouts."""

import functools
import pathlib

from hrnet_jax import prepare, skeletons
from hrnet_jax.datasets import mpii, photo_stores
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import boxes, coco_files, mpii_files, pictures, splits
from hrnet_jax.doctor.findings import Examination, Finding, found, with_location
from hrnet_jax.doctor.splits import Examined
from hrnet_jax.skeletons import Skeleton

PEOPLE, PHOTOS_ONLY = "person_keypoints_", "image_info_"


def coco(root: pathlib.Path, skeleton: Skeleton, detections: pathlib.Path | None) -> list[Examination]:
    """Examines all splits of a data set in COCO's layout.

    Raises:
      ValueError: the split of the detections is ambiguous.
    """
    folder = root / "annotations"
    files = {file.stem.removeprefix(PEOPLE): file for file in sorted(folder.glob(f"{PEOPLE}*.json"))}
    for file in sorted(folder.glob(f"{PHOTOS_ONLY}*.json")):
        split = file.stem.removeprefix(PHOTOS_ONLY)
        if not isinstance(_locate(root, prepare.photos_name(split, with_people=False)), Exception):
            files.setdefault(split, file)  # COCO ships these files to everyone: without photos they are unused
    if not files:
        return _missing(root, "annotations", f"there is no {PEOPLE}<split>.json in {folder}")
    target = prepare.detections_target(list(files)) if detections else None
    examined = {}
    for split, file in files.items():
        published = root / "person_detection_results" / prepare.DETECTION_FILES.get(split, "")
        given = detections if split == target else published if published.is_file() else None
        look = functools.partial(_coco_split, root, split, file, given, skeleton)
        examined[split] = splits.guarded(file, split, look)
    return with_shared(root, examined)


def _missing(root: pathlib.Path, name: str, what: str) -> list[Examination]:
    remedy = "put the annotation files there, the authors' or your own"
    missing = found("annotations_missing", "error", [name], what, remedy)
    return [Examination(root.name, {}, with_location(missing, root, root.name))]


def _coco_split(
    root: pathlib.Path, split: str, file: pathlib.Path, detections: pathlib.Path | None, skeleton: Skeleton
) -> Examined:
    with_people = file.name.startswith(PEOPLE)
    annotations, people, about_entries = coco_files.read(file, skeleton, with_people)
    about_entries = with_location(about_entries, file, split)
    if annotations is None:
        return Examined(Examination(split, {}, about_entries), {})
    place = _locate(root, prepare.photos_name(split, with_people))
    photos = annotations.photos
    facts, findings, names = _examine(file, split, place, photos, people, skeleton, squares=False)
    findings = about_entries + findings
    if not isinstance(place, Exception):
        findings += with_location(pictures.unlisted(place, photos), place.path, split)
    if detections:
        truth = people if with_people else None
        category = annotations.category.get("id")
        table, about_boxes = boxes.read(detections, photos, category, truth, skeleton)
        if table is not None:
            more, further = boxes.examine(table, photos, truth)
            facts, about_boxes = facts | more, about_boxes + further
        findings += with_location(about_boxes, detections, split)
    return Examined(Examination(split, facts, findings), names)


def _examine(
    file: pathlib.Path,
    split: str,
    place: PhotoStore | Exception,
    photos: dict[int, Photo],
    people: AnnotatedPeople,
    skeleton: Skeleton,
    *,
    squares: bool,
) -> tuple[dict[str, str], list[Finding], dict[str, str]]:
    """Examines the photos and people of a split; returns facts, findings, and the photos' names by digest."""
    if isinstance(place, Exception):
        remedy = "put the photos (or COCO's zip file) there"
        lost = found("photos_unavailable", "error", ["photos"], str(place), remedy)
        looks, facts, about_photos = None, {}, with_location(lost, file.parents[1], split)
    else:
        looks, facts, about_photos = splits.examine_photos(place, photos, split)
        photos = splits.with_sizes(photos, looks)
        about_photos = with_location(about_photos, place.path, split)
    findings: list[Finding] = []
    if len(people) and (people.labelled.any() or not squares):
        more, findings = splits.examine_people(people, skeleton, photos, squares=squares)
        facts |= more
        if looks and not isinstance(place, Exception):
            more, about_colours = splits.examine_colours(people, skeleton, photos, place, looks)
            facts, findings = facts | more, findings + about_colours
    return facts, with_location(findings, file, split) + about_photos, splits.named(photos, looks)


def mpii_root(root: pathlib.Path) -> list[Examination]:
    """Examines all splits of MPII in the authors' layout."""
    files = {split: root / "annot" / f"{split}.json" for split in prepare.MPII_SPLITS}
    files = {split: file for split, file in files.items() if file.is_file()}
    if not files:
        what = f"{root / 'annot'} has no file of a split ({', '.join(prepare.MPII_SPLITS)})"
        return _missing(root, "annot", what)
    looks = {split: functools.partial(_mpii_split, root, split, file) for split, file in files.items()}
    return with_shared(root, {split: splits.guarded(files[split], split, look) for split, look in looks.items()})


def _mpii_split(root: pathlib.Path, split: str, file: pathlib.Path) -> Examined:
    photos, people, about_rows = mpii_files.read(file, skeletons.MPII)
    about_rows = with_location(about_rows, file, split)
    if people is None:
        return Examined(Examination(split, {}, about_rows), {})
    place = _locate(root, "images")
    facts, findings, names = _examine(file, split, place, photos, people, skeletons.MPII, squares=True)
    findings = about_rows + findings
    truth = root / "annot" / f"gt_{split}.mat"
    if truth.is_file():
        findings += with_location(_truth(truth, len(people)), truth, split)
    return Examined(Examination(split, facts, findings), names)


def _truth(path: pathlib.Path, rows: int) -> list[Finding]:
    """Examines the MATLAB file for PCKh."""
    remedy = f"get the {path.name} that belongs to the JSON file"
    try:
        truth = mpii.read_truth(path, skeletons.MPII)
    except (ValueError, OSError) as error:
        return found("truth", "error", [path.name], str(error), remedy)
    other = [path.name] * (len(truth) != rows)
    return found("truth", "error", other, f"it is of {len(truth):,} people, the JSON file of {rows:,}", remedy)


def _locate(root: pathlib.Path, name: str) -> PhotoStore | Exception:
    try:
        return photo_stores.locate(root, name)
    except (ValueError, OSError) as error:
        return error


def with_shared(root: pathlib.Path, examined: dict[str, Examined]) -> list[Examination]:
    """Returns the examinations of the splits, and one of the photos they share, if any."""
    between = pictures.shared({name: split.names for name, split in examined.items()})
    both = [Examination("between splits", {}, with_location(between, root, "between splits"))] if between else []
    return [split.part for split in examined.values()] + both
