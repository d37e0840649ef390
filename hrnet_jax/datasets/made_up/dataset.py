"""A data set of made-up people in the format of COCO 2017, read by the same code as COCO.

``python -m hrnet_jax.datasets.made_up --out DIR`` writes JPEG photos, person annotations and detector boxes. A
photo depends only on its seed, split and number. The files are identical for any number of worker processes, and
splits never share random numbers.
"""

import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import tqdm

from hrnet_jax import validation
from hrnet_jax.datasets.made_up import labels, scenes

SPLITS = ("train2017", "val2017")
DETECTIONS = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
DESCRIPTION = "Made-up people of hrnet_jax"  # `write` overwrites only files with this ``info.description``
PHOTOS_PER_TASK = 8
MAX_PHOTOS = 999_999

Entries = tuple[dict[str, Any], list[dict], list[dict]]  # of a photo: image, annotations, boxes


def annotation_file(root: pathlib.Path, split: str) -> pathlib.Path:
    """Returns the path of a split's annotations."""
    return root / "annotations" / f"person_keypoints_{split}.json"


def write(
    root: str | os.PathLike, *, train_photos: int, val_photos: int, seed: int = 0, workers: int | None = None
) -> pathlib.Path:
    """Writes made-up photos and their annotations, laid out like COCO 2017.

    Annotation files are written last and atomically. If they exist, their photos are complete.

    Args:
      root: output directory. Files of an earlier call are replaced; other data sets are not.
      train_photos: number of training photos, 1 to 999,999.
      val_photos: number of validation photos, 1 to 999,999.
      seed: not negative; other seeds give other people.
      workers: number of processes. Default: one per core. `multiprocessing` needs a calling script that is
        importable without side effects.

    Returns:
      `root`. It holds ``annotations/person_keypoints_SPLIT.json`` and ``images/SPLIT/*.jpg`` for every split in
      `SPLITS`, and the detections of val2017 in `DETECTIONS`.

    Raises:
      ValueError: a count or the seed is out of range, or `root` holds annotations of another data set.
    """
    root = pathlib.Path(root)
    files = [annotation_file(root, split) for split in SPLITS]
    _check({"train_photos": train_photos, "val_photos": val_photos}, seed, files)
    for file in (*files, root / DETECTIONS):
        file.unlink(missing_ok=True)  # annotations must not outlive the photos that are about to be replaced
    with process_map(os.cpu_count() or 1 if workers is None else workers, PHOTOS_PER_TASK) as map_photos:
        train = _make_split(root, SPLITS[0], train_photos, seed, map_photos)
        val = _make_split(root, SPLITS[1], val_photos, seed, map_photos)
    write_json(root / DETECTIONS, [box for _, _, boxes in val for box in boxes])
    for file, entries in zip(files, (train, val), strict=True):
        write_json(file, _annotations(entries))
    return root


def _check(counts: dict[str, int], seed: int, files: list[pathlib.Path]) -> None:
    """Raises ValueError for numbers out of range, and for files that `check_ours` refuses."""
    for name, count in counts.items():
        if not 1 <= count <= MAX_PHOTOS:
            raise ValueError(f"`{name}` (={count}) must be between 1 and {MAX_PHOTOS}")
    if seed < 0:
        raise ValueError(f"`seed` (={seed}) must not be negative")
    check_ours(files)


def check_ours(files: Iterable[pathlib.Path]) -> None:
    """Raises ValueError for annotation files of others, which must not be overwritten."""
    for file in filter(pathlib.Path.exists, files):
        content = validation.read_json(file)
        info = content.get("info") if isinstance(content, dict) else None
        if not isinstance(info, dict) or info.get("description") != DESCRIPTION:
            raise ValueError(f"{file} belongs to another data set and is not overwritten: choose another `--out`")


@contextlib.contextmanager
def process_map(workers: int, chunk: int) -> Iterator[Callable]:
    """Yields the built-in `map`, or an equivalent that gives `chunk` calls at a time to several processes."""
    if workers <= 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that runs JAX may hang
    # Each worker has one core to itself.
    with concurrent.futures.ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
        yield functools.partial(pool.map, chunksize=chunk)


def _make_split(root: pathlib.Path, split: str, count: int, seed: int, map_photos: Callable) -> list[Entries]:
    """Writes the photos of a split with a progress bar and returns their entries in order."""
    (root / "images" / split).mkdir(parents=True, exist_ok=True)
    photos = map_photos(functools.partial(_make_photo, root, split, seed), range(count))
    return list(tqdm.tqdm(photos, f"made-up {split}", total=count, unit="photo", mininterval=0.5))


def _make_photo(root: pathlib.Path, split: str, seed: int, number: int) -> Entries:
    rng = _rng(seed, split, number)
    scene = scenes.compose(rng)
    height, width = scene.photo.shape[:2]
    photo_id = SPLITS.index(split) * (MAX_PHOTOS + 1) + number + 1
    name = f"{photo_id:012d}.jpg"
    photo = {"id": photo_id, "file_name": name, "width": width, "height": height, "license": 1}
    annotations = labels.annotate(scene, photo_id, rng)
    _, jpeg = cv2.imencode(".jpg", scene.photo, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(85, 96))])
    (root / "images" / split / name).write_bytes(jpeg.tobytes())
    return photo, annotations, labels.detect(annotations, photo, rng)


def _rng(seed: int, split: str, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), number]))


def _annotations(entries: list[Entries]) -> dict[str, Any]:
    """Returns the content of COCO's annotation file."""
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": labels.SKELETON.joints}
    category["skeleton"] = [[a + 1, b + 1] for a, b in labels.SKELETON.limbs]
    return {
        "info": {"description": DESCRIPTION, "version": "1.0"},
        "licenses": [{"id": 1, "name": "No rights: nobody is in these pictures", "url": ""}],
        "images": [photo for photo, _, _ in entries],
        "annotations": [annotation for _, annotations, _ in entries for annotation in annotations],
        "categories": [category],
    }


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a file, and its folder if it is not there. An interrupted call leaves no broken file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, separators=(",", ":")))
    unfinished.replace(path)
