"""Published data sets: their skeletons, and where their files are.

Most are COCO files with another skeleton. `DataSet.read` makes COCO files of the others. The metrics are in
`evaluation.protocols`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrnet_jax import skeletons, validation
from hrnet_jax.datasets import aic, coco_forms, layouts, lsp, photo_stores, posetrack_coco
from hrnet_jax.datasets.annotations import Sources
from hrnet_jax.skeletons import Skeleton

Read = Callable[[pathlib.Path, str, Skeleton], Any]
"""(file, split, skeleton) -> the content of a COCO file. Raises ValueError for a malformed one."""


def _as_coco(path: pathlib.Path, split: str, skeleton: Skeleton, *, change: Callable[[Any, Skeleton], Any]) -> Any:
    """Reads a JSON file and turns it into COCO's form."""
    del split
    return change(validation.read_json(path), skeleton)


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
      skeleton: its name in `skeletons`.
      splits: each split with the words that stand for it in the names of files.
      files: names of a split's annotation file, or folder of files, below the root, the authors' first: ``{0}`` is
        the split, ``{1}`` and ``{2}`` are its words.
      photos: likewise, folders or zip files of its photos; the first that exists.
      read: makes COCO's content of a file, or None for a COCO file.
      boxes: for a split, the published file of a detector's boxes below the root.
      by_box: whether a detector's boxes can be evaluated.
      expected: kinds of the doctor's findings in the authors' files that are meant so.
    """

    skeleton: str
    splits: Mapping[str, Sequence[str]]
    files: Sequence[str]
    photos: Sequence[str]
    read: Read | None = None
    boxes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    by_box: bool = True
    expected: Sequence[str] = ()


def _named(*splits: str) -> dict[str, tuple[str, ...]]:
    """Returns splits that are called in files as here."""
    return {split: (split,) for split in splits}


DATA_SETS = {
    "crowdpose": DataSet(
        "crowdpose",
        splits=_named("train", "val", "trainval", "test"),
        files=(
            "annotations/crowdpose_{0}.json",
            "json/crowdpose_{0}.json",
            "annotations/mmpose_crowdpose_{0}.json",
        ),
        photos=("images", "images.zip"),
        read=functools.partial(_as_coco, change=coco_forms.named),
        boxes={"test": "annotations/det_for_crowd_test_0.1_0.5.json"},
        expected=("num_keypoints",),  # counts visible joints, not labelled ones
    ),
    "aic": DataSet(
        "aic",
        splits={"train": ("train", "20170902"), "val": ("validation", "20170911")},
        files=(
            "ai_challenger_keypoint_{1}_{2}/keypoint_{1}_annotations_{2}.json",
            "keypoint_{1}_annotations_{2}.json",
            "annotations/aic_{0}.json",
        ),
        photos=(
            "ai_challenger_keypoint_{1}_{2}/keypoint_{1}_images_{2}",
            "keypoint_{1}_images_{2}",
            "keypoint_{1}_images_{2}.zip",
            "images",
        ),
        read=functools.partial(_as_coco, change=aic.to_coco),
    ),
    "ochuman": DataSet(
        "coco",
        splits=_named("val", "test"),
        files=(
            "annotations/ochuman_coco_format_{0}_range_0.00_1.00.json",
            "ochuman_coco_format_{0}_range_0.00_1.00.json",
        ),
        photos=("images", "images.zip"),
    ),
    "coco_wholebody": DataSet(
        "coco_wholebody",
        splits={"train2017": ("train",), "val2017": ("val",)},
        files=("annotations/coco_wholebody_{1}_v1.0.json",),
        photos=("images/{0}", "{0}", "images/{0}.zip", "{0}.zip"),
        read=functools.partial(_as_coco, change=coco_forms.wholebody),
        boxes={"val2017": f"person_detection_results/{layouts.DETECTION_FILES['val2017']}"},
        expected=("flags",),  # scores of hands; the authors' evaluation counts all above 0
    ),
    "halpe26": DataSet(
        "halpe26",
        splits={"train": ("hico_20160224_det/images/train2015",), "val": ("val2017",)},
        files=("annotations/halpe_{0}_v1.json", "halpe_{0}_v1.json"),
        photos=("{1}", "images/{1}", "{1}.zip"),
        read=functools.partial(_as_coco, change=coco_forms.halpe26),
    ),
    "humanart": DataSet(
        "coco",
        splits={"train": ("training",), "val": ("validation",)},
        files=("annotations/{1}_humanart.json",),
        photos=("images",),
        read=functools.partial(_as_coco, change=coco_forms.humanart),
        boxes={"val": "person_detection_results/HumanArt_validation_detections_AP_H_56_person.json"},
    ),
    "jhmdb": DataSet(
        "jhmdb",
        splits={f"{of}_sub{number}": (of, f"{number}") for number in (1, 2, 3) for of in ("train", "test")},
        files=("annotations/Sub{2}_{1}.json",),
        photos=(".",),
        read=functools.partial(_as_coco, change=coco_forms.jhmdb),
        by_box=False,
    ),
    "lsp": DataSet(
        "lsp", _named("train", "test"), files=("joints.mat",), photos=("images",), read=lsp.read, by_box=False
    ),
    "lspet": DataSet(
        "lsp", _named("train"), files=("joints.mat",), photos=("images",), read=lsp.read_extended, by_box=False
    ),
    "ap10k": DataSet(
        "ap10k",
        splits=_named(*(f"{of}-split{number}" for number in (1, 2, 3) for of in ("train", "val", "test"))),
        files=("annotations/ap10k-{0}.json",),
        photos=("data", "images"),
        read=functools.partial(_as_coco, change=coco_forms.ap10k),
        by_box=False,
    ),
    "posetrack": DataSet(
        "posetrack",
        splits=_named("train", "val"),
        files=(
            "annotations/{0}",
            "posetrack_data/annotations/{0}",
            "annotations/posetrack18_{0}.json",
        ),
        photos=("posetrack_data", "."),
        read=posetrack_coco.read,
        boxes={"val": "annotations/posetrack18_val_human_detections.json"},
        expected=("sizes_assumed", "areas_assumed", "boxes_outside"),  # boxes are grown joints
    ),
}
"""The data sets by their names in ``prepare`` and in prepared splits."""


def sources(
    name: str,
    root: pathlib.Path,
    splits: Sequence[str] | None,
    detections: pathlib.Path | None,
    choices: layouts.Choices,
) -> list[Sources]:
    """Finds the files of splits, by default of all that are there. Missing files are an error before any work.

    Raises FileNotFoundError for a missing file, and ValueError for a split that the data set does not have.
    """
    data = DATA_SETS[name]
    known = ", ".join(data.splits)
    if unknown := [split for split in splits or () if split not in data.splits]:
        raise ValueError(f"`splits` (={unknown[0]}): {name} has {known}")
    if choices.annotations and len(splits or ()) != 1:
        raise ValueError(f"--annotations is of one split: name it with --splits, one of {known}")
    files = {
        split: _first(root, choices.annotations, data.files, split, data.splits[split]) for split in data.splits
    }
    chosen = splits or [split for split, file in files.items() if file.exists()] or [*files][:1]
    target = layouts.detections_target(chosen) if detections else None
    return [
        _source(name, root, split, files[split], detections if split == target else None, choices)
        for split in chosen
    ]


def _source(
    name: str,
    root: pathlib.Path,
    split: str,
    file: pathlib.Path,
    detections: pathlib.Path | None,
    choices: layouts.Choices,
) -> Sources:
    data = DATA_SETS[name]
    published = root / data.boxes[split] if split in data.boxes else None
    boxes = detections or (published if published and published.is_file() else None)
    for path in (file, boxes):
        if path and not path.exists():
            raise validation.missing(path)
    photos = _first(root, choices.photos, data.photos, split, data.splits[split])
    read = functools.partial(_read, data.read, split, skeletons.load(data.skeleton)) if data.read else None
    store = photo_stores.open_store(photos, root, choices.follow_links)
    return Sources("coco", split, file, store, detections=boxes, published=name, read=read)


def _first(
    root: pathlib.Path, given: pathlib.Path | None, names: Sequence[str], split: str, words: Sequence[str]
) -> pathlib.Path:
    """Returns the given path, or else the first of the names below the root that exists, or else the first."""
    if given:
        return layouts.given(root, given)
    paths = [root / name.format(split, *words) for name in names]
    return next((path for path in paths if path.exists()), paths[0])


def _read(read: Read, split: str, skeleton: Skeleton, path: pathlib.Path) -> Any:
    """Reads a file. Names it in errors."""
    try:
        return read(path, split, skeleton)
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error
