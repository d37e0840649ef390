"""Examining a data set as `prepare` takes it: COCO's layout, or MPII's."""

import functools
import pathlib
from collections.abc import Sequence

from hrnet_jax import prepare, skeletons
from hrnet_jax.datasets import mpii, photo_stores
from hrnet_jax.datasets.photo_stores import Place
from hrnet_jax.doctor import boxes, coco_files, mpii_files, pictures, splits
from hrnet_jax.doctor.findings import Examination, Finding, found, with_location
from hrnet_jax.doctor.splits import Examined
from hrnet_jax.skeletons import Skeleton

PEOPLE, PHOTOS_ONLY = "person_keypoints_", "image_info_"


def coco(root: pathlib.Path, skeleton: Skeleton, detections: pathlib.Path | None) -> list[Examination]:
    """Examines all splits of a data set in COCO's layout.

    Raises:
      ValueError: it is not clear which split the detections are for.
    """
    folder = root / "annotations"
    files = {file.stem.removeprefix(PEOPLE): file for file in sorted(folder.glob(f"{PEOPLE}*.json"))}
    for file in sorted(folder.glob(f"{PHOTOS_ONLY}*.json")):
        split = file.stem.removeprefix(PHOTOS_ONLY)
        if not isinstance(_locate(root, split.replace("test-dev", "test")), Exception):
            files.setdefault(split, file)  # COCO ships these files to everyone: without their photos, unused
    if not files:
        what = f"there is no {PEOPLE}<split>.json in {folder}"
        lost = found("annotations_missing", "error", ["annotations"], what, "put COCO's or your annotations there")
        return [Examination(root.name, {}, with_location(lost, root, root.name))]
    target = prepare.detections_target(list(files)) if detections else None
    examined = {}
    for split, file in files.items():
        usual = root / "person_detection_results" / prepare.DETECTION_FILES.get(split, "")
        given = detections if split == target else usual if usual.is_file() else None
        look = functools.partial(_coco_split, root, split, file, given, skeleton)
        examined[split] = splits.guarded(file, split, look)
    return with_shared(root, examined)


def _coco_split(
    root: pathlib.Path, split: str, file: pathlib.Path, detections: pathlib.Path | None, skeleton: Skeleton
) -> Examined:
    with_people = file.name.startswith(PEOPLE)
    content, findings = coco_files.read(file, skeleton, with_people)
    if content is None:
        return Examined(Examination(split, {}, with_location(findings, file, split)), {})
    place = _locate(root, split if with_people else split.replace("test-dev", "test"))
    looks, facts, about_photos = None, {}, _no_photos(place)
    if not isinstance(place, Exception):
        looks, facts, about_photos = splits.examine_photos(place, content.photos, split)
        about_photos += pictures.unlisted(place, content.photos)
    about_photos = with_location(about_photos, root if isinstance(place, Exception) else place.path, split)
    if len(content.people):
        more, about = splits.examine_people(content.people, skeleton, content.photos, squares=False)
        facts, findings = facts | more, findings + about
        if looks and not isinstance(place, Exception):
            more, about = splits.examine_colours(content.people, skeleton, content.photos, place, looks)
            facts, findings = facts | more, findings + about
    findings = with_location(findings, file, split) + about_photos
    if detections:
        truth = content.people if with_people else None
        table, about = boxes.read(detections, content.photos, content.category, truth)
        if table is not None:
            more, further = boxes.examine(table, content.photos, truth)
            facts, about = facts | more, about + further
        findings += with_location(about, detections, split)
    return Examined(Examination(split, facts, findings), splits.named(content.photos, looks))


def mpii_root(root: pathlib.Path) -> list[Examination]:
    """Examines all splits of MPII in the authors' layout."""
    files = {split: root / "annot" / f"{split}.json" for split in prepare.MPII_SPLITS}
    files = {split: file for split, file in files.items() if file.is_file()}
    if not files:
        what = f"{root / 'annot'} has no file of a split ({', '.join(prepare.MPII_SPLITS)})"
        lost = found("annotations_missing", "error", ["annot"], what, "put the authors' JSON files there")
        return [Examination(root.name, {}, with_location(lost, root, root.name))]
    looks = {split: functools.partial(_mpii_split, root, split, file) for split, file in files.items()}
    return with_shared(root, {split: splits.guarded(files[split], split, look) for split, look in looks.items()})


def _mpii_split(root: pathlib.Path, split: str, file: pathlib.Path) -> Examined:
    skeleton = skeletons.MPII
    photos, table, findings = mpii_files.read(file, skeleton)
    place = _locate(root, "images")
    looks, facts, about_photos = None, {}, _no_photos(place)
    if not isinstance(place, Exception) and photos:
        looks, facts, about_photos = splits.examine_photos(place, photos, split)
        photos = splits.with_sizes(photos, looks)
    about_photos = with_location(about_photos, root if isinstance(place, Exception) else place.path, split)
    if table is not None and len(table) and table.labelled.any():
        more, about = splits.examine_people(table, skeleton, photos, squares=True)
        facts, findings = facts | more, findings + about
        if looks and not isinstance(place, Exception):
            more, about = splits.examine_colours(table, skeleton, photos, place, looks)
            facts, findings = facts | more, findings + about
    findings = with_location(findings, file, split) + about_photos
    truth = root / "annot" / f"gt_{split}.mat"
    if truth.is_file() and table is not None:
        findings += with_location(_truth(truth, len(table), skeleton), truth, split)
    return Examined(Examination(split, facts, findings), splits.named(photos, looks))


def _truth(path: pathlib.Path, rows: int, skeleton: Skeleton) -> list[Finding]:
    """Looks at MATLAB's file, which PCKh is counted on."""
    remedy = f"get the {path.name} that belongs to the JSON file"
    try:
        truth = mpii.read_truth(path, skeleton)
    except (ValueError, OSError) as error:
        return found("truth", "error", [path.name], str(error), remedy)
    other = [path.name] * (len(truth) != rows)
    return found("truth", "error", other, f"it is of {len(truth):,} people, the JSON file of {rows:,}", remedy)


def _locate(root: pathlib.Path, name: str) -> Place | Exception:
    try:
        return photo_stores.locate(root, name)
    except (ValueError, OSError) as error:
        return error


def _no_photos(place: Place | Exception) -> list[Finding]:
    remedy = "put the photos (or COCO's zip file) there"
    return found("photos_unavailable", "error", ["photos"] * isinstance(place, Exception), str(place), remedy)


def with_shared(root: pathlib.Path, examined: dict[str, Examined]) -> list[Examination]:
    """Returns the splits' examinations, and what is wrong between them."""
    between = pictures.shared({name: split.names for name, split in examined.items()})
    parts: Sequence[Examination] = [split.part for split in examined.values()]
    both = [Examination("between splits", {}, with_location(between, root, "between splits"))] if between else []
    return [*parts, *both]
