"""Examination of the data sets that `prepare` reads: COCO's and MPII's layouts."""

import functools
import pathlib
from collections.abc import Mapping

from hrnet_jax import skeletons
from hrnet_jax.datasets import coco as datasets_coco
from hrnet_jax.datasets import layouts, mpii, photo_stores, records
from hrnet_jax.datasets.layouts import Choices
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import boxes, coco_files, joint_names, mpii_files, pictures, splits
from hrnet_jax.doctor.findings import Examination, Finding, attempt, found
from hrnet_jax.skeletons import Skeleton

Located = tuple[PhotoStore | None, list[Finding]]
PUT = "put the photos (or COCO's zip file) there"


def coco(
    root: pathlib.Path, skeleton: Skeleton, detections: pathlib.Path | None, choices: Choices
) -> list[Examination]:
    """Examines all splits in COCO's layout. Raises ValueError if the split of the detections is ambiguous."""
    folder = root / "annotations"
    files, _ = attempt(lambda: layouts.coco_files(root, None, choices), "", "", "")
    files = files or {}
    for file in sorted(folder.glob(f"{layouts.PHOTOS_ONLY}*.json")) if not choices.annotations else ():
        split = file.stem.removeprefix(layouts.PHOTOS_ONLY)
        if _locate(root, split, file, choices)[0] is not None:
            files.setdefault(split, file)  # COCO ships these files to everyone: without photos they are unused
    if not files:
        return _missing(root, "annotations", f"there is no {layouts.PEOPLE}<split>.json in {folder}")
    target = layouts.detections_target([*files]) if detections else None
    looks = {}
    for split, file in files.items():
        given = detections if split == target else layouts.published_detections(root, split)
        looks[split] = file, functools.partial(_coco_split, root, file, given, skeleton, choices)
    return splits.examine_all(root, looks)


def _missing(root: pathlib.Path, name: str, what: str) -> list[Examination]:
    remedy = "put the annotation files there, the authors' or your own"
    part = Examination(root.name)
    part.add(root, {}, found("annotations_missing", "error", [name], what, remedy))
    return [part]


def _coco_split(
    root: pathlib.Path,
    file: pathlib.Path,
    detections: pathlib.Path | None,
    skeleton: Skeleton,
    choices: Choices,
    part: Examination,
) -> None:
    with_people = not file.name.startswith(layouts.PHOTOS_ONLY)
    located = _locate(root, part.name, file, choices)
    size_of = functools.partial(photo_stores.read_size, located[0]) if located[0] else datasets_coco.no_size
    options = {"with_people": with_people, "is_guess": choices.is_guess, "size_of": size_of}
    annotations, people, findings = coco_files.read(file, skeleton, **options)
    part.add(file, {}, findings)
    if annotations is None:
        return
    used, dropped = datasets_coco.select_people(annotations, skeleton)
    part.facts["used"] = f"{len(used):,} people{records.dropped_text(dropped)}"
    photos, skeleton = annotations.photos, joint_names.named_as(skeleton, annotations.category.get("keypoints"))
    place, people, as_meant = _examine(part, root, file, located, photos, people, skeleton)
    part.add(file, {}, coco_files.limit(annotations, skeleton, people, as_meant))
    if place is not None:
        part.add(place.path, {}, pictures.unlisted(place, photos))
    if detections:
        truth = people if with_people else None
        table, findings = boxes.read(detections, annotations, truth, skeleton)
        part.add(detections, {}, findings)
        if table is not None:
            part.add(detections, *boxes.examine(table, photos, truth))


def _examine(
    part: Examination,
    root: pathlib.Path,
    file: pathlib.Path,
    located: Located,
    photos: Mapping[int, Photo],
    people: AnnotatedPeople,
    skeleton: Skeleton,
    *,
    squares: bool = False,
) -> tuple[PhotoStore | None, AnnotatedPeople, Mapping[int, Photo]]:
    """Examines the photos and people of a split. Returns the place of the photos, people and photos as meant."""
    looks, (place, about_photos) = None, located
    if place is not None:
        looks, photos, about_photos = splits.examine_photos(part, place, photos)
    people, photos = splits.examine_annotations(part, file, people, skeleton, photos, squares=squares)
    if looks and len(people) and place is not None:
        part.add(file, *splits.examine_colours(people, skeleton, photos, place, looks))
    part.add(root if place is None else place.path, {}, about_photos)
    return place, people, photos


def mpii_root(root: pathlib.Path) -> list[Examination]:
    """Examines all splits of MPII in the authors' layout."""
    files = {split: root / "annot" / f"{split}.json" for split in layouts.MPII_SPLITS}
    files = {split: file for split, file in files.items() if file.is_file()}
    if not files:
        what = f"{root / 'annot'} has no file of a split ({', '.join(layouts.MPII_SPLITS)})"
        return _missing(root, "annot", what)
    looks = {split: (file, functools.partial(_mpii_split, root, file)) for split, file in files.items()}
    return splits.examine_all(root, looks)


def _mpii_split(root: pathlib.Path, file: pathlib.Path, part: Examination) -> None:
    photos, people, findings = mpii_files.read(file, skeletons.MPII)
    part.add(file, {}, findings)
    if people is None:
        return
    located = attempt(lambda: photo_stores.locate(root, "images"), "photos_unavailable", "photos", PUT)
    _examine(part, root, file, located, photos, people, skeletons.MPII, squares=True)
    truth = root / "annot" / f"gt_{part.name}.mat"
    if truth.is_file():
        part.add(truth, {}, _truth(truth, len(people)))


def _truth(path: pathlib.Path, rows: int) -> list[Finding]:
    """Examines the MATLAB file for PCKh."""
    remedy = f"get the {path.name} that belongs to the JSON file"
    truth, damaged = attempt(lambda: mpii.read_truth(path, skeletons.MPII), "truth", path.name, remedy)
    if truth is None:
        return damaged
    other = [path.name] * (len(truth) != rows)
    return found("truth", "error", other, f"it is of {len(truth):,} people, the JSON file of {rows:,}", remedy)


def _locate(root: pathlib.Path, split: str, file: pathlib.Path, choices: Choices) -> Located:
    return attempt(lambda: layouts.coco_photos(root, split, file, choices), "photos_unavailable", "photos", PUT)
