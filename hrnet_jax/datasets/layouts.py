"""Where the files of a split are: in COCO's layout, in MPII's, and as annotation tools export them."""

import dataclasses
import pathlib
from collections.abc import Sequence

from hrnet_jax import validation
from hrnet_jax.datasets import photo_stores
from hrnet_jax.datasets.annotations import Sources
from hrnet_jax.datasets.photo_stores import PhotoStore

# Detector files published by the authors of HRNet, in ROOT/person_detection_results/.
DETECTION_FILES = {
    "val2017": "COCO_val2017_detections_AP_H_56_person.json",
    "test-dev2017": "COCO_test-dev2017_detections_AP_H_609_person.json",
}
MPII_SPLITS = ("train", "valid", "test")  # the default; the authors' trainval is the union of two
PEOPLE, PHOTOS_ONLY = "person_keypoints_", "image_info_"  # begin the names of COCO's files
BESIDE_PHOTOS = "_annotations.coco.json"  # in each split's folder of photos, as Roboflow exports


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the command line says of a data set in COCO's format."""

    annotations: pathlib.Path | None = None  # the file of the only split
    photos: pathlib.Path | None = None  # its folder or zip file
    follow_links: bool = False  # also to photos outside the data set
    skeleton: str | None = ""  # name or file; None if nobody chose one, and COCO's is a guess

    @property
    def is_guess(self) -> bool:
        """Whether joints of other names than the skeleton's are an error."""
        return self.skeleton is None


def coco_files(root: pathlib.Path, splits: Sequence[str] | None, choices: Choices) -> dict[str, pathlib.Path]:
    """Returns the annotation file of each split, by default all with people. Raises FileNotFoundError for none."""
    if choices.annotations:
        file = given(root, choices.annotations)
        inside = file.parent.name if file.name == BESIDE_PHOTOS else file.stem
        name = (*(splits or ()), inside.removeprefix(PEOPLE).removeprefix(PHOTOS_ONLY))[0]
        return {name: file}
    if splits:
        return {split: _annotations(root, split) for split in splits}
    found = {file.stem.removeprefix(PEOPLE): file for file in (root / "annotations").glob(f"{PEOPLE}*.json")}
    found = found or {file.parent.name: file for file in root.glob(f"*/{BESIDE_PHOTOS}")}
    if not found:
        problem = validation.missing(root / "annotations" / f"{PEOPLE}<split>.json")
        raise FileNotFoundError(f"{problem}; {elsewhere(root)}")
    return dict(sorted(found.items()))


def elsewhere(root: pathlib.Path) -> str:
    """Returns what to do with a data set that is not in COCO's layout, as the end of a message."""
    if root.is_file():
        return "give a folder: unpack archives"
    beside = (
        file.with_suffix(suffix) for file in root.glob("images/**/*.json") for suffix in photo_stores.SUFFIXES
    )
    formats = {
        "Ultralytics (YOLO)": any(root.glob("labels/**/*.txt")),
        "DeepLabCut": any(root.glob("labeled-data/*/CollectedData_*")),
        "labelme": any(photo.is_file() for photo in beside),
    }
    if program := next((program for program, matches in formats.items() if matches), ""):
        return f"it looks like a data set of {program}: export or convert it to COCO's format"
    return "a file of people elsewhere is given with --annotations FILE --photos DIR"


def _annotations(root: pathlib.Path, split: str) -> pathlib.Path:
    """Returns the file of a split that is there: of people, of photos only, or beside the photos."""
    photo_stores.check_plain(split)
    names = [root / "annotations" / f"{prefix}{split}.json" for prefix in (PEOPLE, PHOTOS_ONLY)]
    return next((file for file in [*names, root / split / BESIDE_PHOTOS] if file.is_file()), names[0])


def given(root: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """Returns a path of the command line, relative to the working directory or to the root."""
    return path if path.exists() or not (root / path).exists() else root / path


def detections_target(splits: Sequence[str]) -> str:
    """Returns the split that a detector's file is for."""
    candidates = splits if len(splits) == 1 else [name for name in splits if not name.startswith("train")]
    if len(candidates) != 1:
        raise ValueError(f"`detections` is for one split, but `splits` is {', '.join(splits)}: give its name only")
    return candidates[0]


def coco(
    root: pathlib.Path, split: str, file: pathlib.Path, detections: pathlib.Path | None, choices: Choices
) -> Sources:
    """Finds the files of a split. Missing files are an error before any work.

    Raises FileNotFoundError, or ValueError if a name is not plain or a split to train on has nobody.
    """
    photo_stores.check_plain(split)
    with_people = not file.name.startswith(PHOTOS_ONLY)
    published = published_detections(root, split)
    boxes = detections or published
    if boxes is None and not with_people and split.startswith("train"):
        raise ValueError(f"{split} has no ground truth: give a detector's boxes with --detections FILE")
    for path in (file, boxes):
        if path and not path.is_file():
            raise validation.missing(path)
    place = coco_photos(root, split, file, choices)
    return Sources("coco", split, file, place, with_people, boxes, is_guess=choices.is_guess)


def published_detections(root: pathlib.Path, split: str) -> pathlib.Path | None:
    """Returns the authors' file of a detector's boxes, if it is there."""
    path = root / "person_detection_results" / DETECTION_FILES.get(split, "")
    return path if path.is_file() else None


def coco_photos(root: pathlib.Path, split: str, file: pathlib.Path, choices: Choices) -> PhotoStore:
    """Finds the photos of a split. Raises FileNotFoundError if there are none."""
    if choices.photos:
        return photo_stores.open_store(given(root, choices.photos), root, choices.follow_links)
    try:
        return photo_stores.locate(root, photos_name(split, file), choices.follow_links)
    except FileNotFoundError:
        if not photo_stores.has_photos(file.parent):
            raise
    return photo_stores.open_store(file.parent, root, choices.follow_links)


def photos_name(split: str, file: pathlib.Path) -> str:
    """Returns the name of the folder or zip file of a split's photos. COCO's test splits share one."""
    return split.replace("test-dev", "test") if file.name.startswith(PHOTOS_ONLY) else split


def mpii(root: pathlib.Path, split: str) -> Sources:
    """Finds the files of a split. Missing files are an error before any work."""
    photo_stores.check_plain(split)
    annotations, truth = root / "annot" / f"{split}.json", root / "annot" / f"gt_{split}.mat"
    if not annotations.is_file():
        raise validation.missing(annotations)
    photos = photo_stores.locate(root, "images")
    return Sources("mpii", split, annotations, photos, truth=truth if truth.is_file() else None)
