"""Made-up people in photos: COCO's own files, written by chance, so that the same code reads them as reads COCO.

``python -m hrnet_jax.datasets.synthetic --out DIR`` writes JPEG photos, person annotations and a detector's
boxes. A photo depends on (seed, split, number) alone: the files are the same, byte for byte, for any number of
worker processes, and the splits never share a random number.

Reading order in ``made_up``: `poses` and `bodies` (the bones), `outfits` and `fabrics` (the looks), `figures`
(the picture of a person), `scenery` and `scenes` (the photo), `labels` (what is said of it); here are the files.
"""

import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import tqdm

from hrnet_jax import validation
from hrnet_jax.datasets import photo_stores
from hrnet_jax.datasets.made_up import labels, scenes

SPLITS = ("train2017", "val2017")
DETECTIONS = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
DESCRIPTION = "Made-up people of hrnet_jax"  # by which an annotation file is known to be of an earlier call
PHOTOS_PER_TASK = 8
TILE = 320  # pixels, the side of a photo's square on the contact sheet

Made = tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]  # a photo, annotations, detections


def _rng(seed: int, split: str, *numbers: int) -> np.random.Generator:
    """The generator of one photo, or of what else the numbers name."""
    return np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), *numbers]))


def _make_photos(root: pathlib.Path, split: str, seed: int, numbers: range) -> list[Made]:
    """Writes some photos and returns what is known of each: its record, annotations and detections."""
    made = []
    for number in numbers:
        rng = _rng(seed, split, number)
        scene = scenes.compose(rng)
        height, width = scene.photo.shape[:2]
        photo_id = SPLITS.index(split) * 1_000_000 + number + 1
        photo = {
            "id": photo_id,
            "file_name": f"{photo_id:012d}.jpg",
            "width": width,
            "height": height,
            "license": 1,
        }
        annotations = labels.annotate(scene, photo_id, rng)
        quality = int(rng.integers(85, 96))
        _, jpeg = cv2.imencode(".jpg", scene.photo, [cv2.IMWRITE_JPEG_QUALITY, quality])
        (root / "images" / split / photo["file_name"]).write_bytes(jpeg.tobytes())
        made.append((photo, annotations, labels.detect(annotations, photo, rng)))
    return made


def _prepare_worker() -> None:
    cv2.setNumThreads(1)  # each worker has one core to itself


@contextlib.contextmanager
def _mapping(workers: int) -> Iterator[Callable]:
    """Gives the plain `map`, or one that does the same in several processes."""
    if workers <= 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that runs JAX may hang
    with concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_prepare_worker) as pool:
        yield pool.map


def _make_split(root: pathlib.Path, split: str, count: int, seed: int, mapping: Callable) -> list[Made]:
    """Writes the photos of a split, showing progress, and returns what is known of each in order."""
    (root / "images" / split).mkdir(parents=True, exist_ok=True)
    tasks = [range(first, min(first + PHOTOS_PER_TASK, count)) for first in range(0, count, PHOTOS_PER_TASK)]
    made: list[Made] = []
    with tqdm.tqdm(total=count, desc=f"made-up {split}", unit="photo", mininterval=0.5) as bar:
        for part in mapping(functools.partial(_make_photos, root, split, seed), tasks):
            made += part
            bar.update(len(part))
    return made


def write(
    root: str | os.PathLike, *, train_photos: int, val_photos: int, seed: int = 0, workers: int | None = None
) -> pathlib.Path:
    """Writes made-up photos and their annotations under `root`, laid out like COCO 2017.

    The annotation files come last, each in one step: where they are, their photos are complete.

    Args:
      root: folder to write to; files of an earlier call are replaced, those of another data set never.
      train_photos: how many photos the training split gets, 1 to 999,999.
      val_photos: the same of the validation split.
      seed: another seed gives other people.
      workers: processes (default: one per core); above 1, the calling script must be importable without side
        effects, as `multiprocessing` demands.

    Returns:
      `root`, with annotations/person_keypoints_{train2017,val2017}.json, images/{train2017,val2017}/*.jpg and
      the val photos' person_detection_results/COCO_val2017_detections_AP_H_56_person.json.

    Raises:
      ValueError: a count or the seed is out of range, or another data set's annotations are in `root`.
    """
    counts = {"train_photos": train_photos, "val_photos": val_photos}
    for name, count in counts.items():
        if not 1 <= count < 1_000_000:
            raise ValueError(f"`{name}` (={count}) must be between 1 and 999999")
    if seed < 0:
        raise ValueError(f"`seed` (={seed}) must not be negative")
    root = pathlib.Path(root)
    workers = os.cpu_count() or 1 if workers is None else workers
    files = [root / "annotations" / f"person_keypoints_{split}.json" for split in SPLITS]
    for file in files:
        _refuse_others(file)
    for file in (*files, root / DETECTIONS):
        file.unlink(missing_ok=True)  # of an earlier call: no file may speak of photos that are being replaced
    with _mapping(workers) as mapping:
        train, val = (
            _make_split(root, split, count, seed, mapping)
            for split, count in zip(SPLITS, counts.values(), strict=True)
        )
    _write_json(root / DETECTIONS, [box for _, _, boxes in val for box in boxes])
    for file, made in zip(files, (train, val), strict=True):
        _write_json(file, _dataset(made))
    return root


def _refuse_others(file: pathlib.Path) -> None:
    """Raises ValueError if an annotation file is there that `write` has not written."""
    if not file.exists():
        return
    content = validation.read_json(file)
    info = content.get("info") if isinstance(content, dict) else None
    if not isinstance(info, dict) or info.get("description") != DESCRIPTION:
        raise ValueError(f"{file} is of another data set, which is not overwritten: give another --out (`root`)")


def _dataset(made: list[Made]) -> dict[str, Any]:
    """COCO's annotation file as a dictionary."""
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(labels.SKELETON.joints),
        "skeleton": [[a + 1, b + 1] for a, b in labels.SKELETON.limbs],
    }
    return {
        "info": {"description": DESCRIPTION, "version": "1.0"},
        "licenses": [{"id": 1, "name": "No rights: nobody is in these pictures", "url": ""}],
        "images": [photo for photo, _, _ in made],
        "annotations": [annotation for _, annotations, _ in made for annotation in annotations],
        "categories": [category],
    }


def _write_json(path: pathlib.Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, separators=(",", ":")))
    unfinished.replace(path)


def contact_sheet(
    root: str | os.PathLike, split: str, path: str | os.PathLike, columns: int = 6, rows: int = 4
) -> None:
    """Draws the first photos of a split with boxes and joints, side by side, into a PNG or JPEG file.

    The person's left is green, right is orange, the middle is white; hidden joints are rings.

    Raises:
      FileNotFoundError: the annotations or a photo are missing.
    """
    root = pathlib.Path(root)
    file = root / "annotations" / f"person_keypoints_{split}.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: write made-up people there with `synthetic.write` first")
    dataset = json.loads(file.read_text())
    tiles = []
    for photo in dataset["images"][: columns * rows]:
        picture = cv2.imread(str(root / "images" / split / photo["file_name"]), photo_stores.DECODE_FLAGS)
        if picture is None:
            raise FileNotFoundError(
                f"{root / 'images' / split / photo['file_name']} is missing or no picture: write again"
            )
        people = [person for person in dataset["annotations"] if person["image_id"] == photo["id"]]
        tiles.append(_tile(picture, people, TILE))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet = np.concatenate([np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)])
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def _tile(picture: np.ndarray, people: list[dict[str, Any]], size: int) -> np.ndarray:
    """An RGB photo made to fit a white square of `size` pixels, with its people marked."""
    growth = (size - 8) / max(picture.shape[:2])
    picture = cv2.resize(picture, None, fx=growth, fy=growth, interpolation=cv2.INTER_AREA)
    for person in people:
        x, y, width, height = np.array(person["bbox"]) * growth
        cv2.rectangle(picture, (round(x), round(y)), (round(x + width), round(y + height)), (60, 200, 255), 1)
        joints = np.array(person["keypoints"]).reshape(-1, 3)
        places = [(round(float(x)), round(float(y))) for x, y in joints[:, :2] * growth]
        for a, b in labels.SKELETON.limbs:
            if joints[a, 2] and joints[b, 2]:
                cv2.line(picture, places[a], places[b], (225, 225, 225), 1, cv2.LINE_AA)
        for name, place, visible in zip(labels.SKELETON.joints, places, joints[:, 2], strict=True):
            side = name.split("_")[0]
            colour = {"left": (80, 220, 80), "right": (255, 120, 40)}.get(side, (255, 255, 255))
            if visible:
                cv2.circle(picture, place, 2, colour, -1 if visible == labels.VISIBLE else 1, cv2.LINE_AA)
    tile = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - picture.shape[0]) // 2, (size - picture.shape[1]) // 2
    tile[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return tile
