"""Writing a prepared split, or as much of it as is not there already; see `records` for what it holds.

A split is written into a hidden directory beside its place and renamed when it is whole, so an interrupted run
leaves nothing that looks finished.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

from hrnet_jax import skeletons, validation
from hrnet_jax.datasets import annotations, photos, records
from hrnet_jax.datasets.annotations import Boxes, Content, Sources, save_json
from hrnet_jax.skeletons import Skeleton

LISTED = 20  # unreadable photos named in the summary
NO_PHOTO = "photo unreadable"


def prepare(sources: Sources, directory: pathlib.Path, skeleton: Skeleton, force: bool) -> tuple[dict, bool]:
    """Writes a split to `directory`, unless it is there already and comes from the same files.

    Args:
      sources: what to make it from.
      directory: where it goes.
      skeleton: what the people are made of.
      force: write it again even if it is there already.

    Returns:
      The split's summary, and whether anything was written.

    Raises:
      FileNotFoundError, ValueError: what is missing or wrong, in which file and field.
    """
    _refuse_others(directory)
    fingerprints = {name: _fingerprint(path) for name, path in sources.files.items()}
    summary = None if force else _finished(directory, fingerprints, skeleton)
    boxes_fingerprint = fingerprints.get("detections")
    if summary and boxes_fingerprint in (None, summary["sources"]["detections"]):
        return summary, False
    content = annotations.read(sources, skeleton)
    if summary and content.boxes and _have_photos(summary, directory, content.boxes):
        return _add_detections(summary, directory, content.boxes, boxes_fingerprint), True
    with replacing(directory) as partial:
        return _write(partial, sources, content, skeleton, fingerprints), True


def _refuse_others(directory: pathlib.Path) -> None:
    """Raises ValueError if what is at `directory` was not written here: it may be the photos themselves."""
    empty = directory.is_dir() and not any(directory.iterdir())
    if directory.exists() and not empty and not (directory / "summary.json").is_file():
        raise ValueError(
            f"{directory} is there already and is not a prepared split (it has no summary.json), so it is not"
            " replaced: give another --out, or move it away"
        )


def _fingerprint(path: pathlib.Path) -> dict:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}


def _finished(directory: pathlib.Path, fingerprints: dict[str, dict], skeleton: Skeleton) -> dict | None:
    """Returns the summary of a split that is there already, whole and from the same files (but detections)."""
    try:
        split = records.open_split(directory, with_pixels=False)
    except (FileNotFoundError, ValueError):
        return None
    before = {name: (split.summary["sources"].get(name) or {}).get("sha256") for name in fingerprints}
    same = all(before[name] == fingerprints[name]["sha256"] for name in fingerprints if name != "detections")
    return split.summary if same and split.skeleton == skeleton else None


def _write(
    directory: pathlib.Path,
    sources: Sources,
    content: Content,
    skeleton: Skeleton,
    fingerprints: dict[str, dict],
) -> dict:
    """Writes a whole split into an empty directory and returns its summary."""
    people, dropped, boxes = content.people, content.dropped, content.boxes
    _require_people(people, dropped, sources)
    wanted = {*people.photo_id.tolist(), *(boxes.people.photo_id.tolist() if boxes else [])}
    ids = sorted(wanted if sources.is_train else content.photos)
    chosen = [content.photos[photo_id] for photo_id in ids]
    problems = photos.write(directory, chosen, sources.photos, sources.split)
    kept = [photo_id for photo_id in ids if photo_id not in problems]
    there = records.on_photos(people, kept)
    dropped = dropped | _counted({NO_PHOTO: len(people) - len(there)})
    _require_people(there, dropped, sources)
    _save_people(directory / "people.npz", there)
    content.write_truth(directory, kept)
    skeletons.save(skeleton, directory / "skeleton.json")
    named = [f"{content.photos[photo_id].file_name}: {problem}" for photo_id, problem in problems.items()]
    summary = {
        "format": records.FORMAT,
        "dataset": sources.dataset,
        "split": sources.split,
        "photos": len(kept),
        "photos_dropped": _counted(
            {"unreadable": len(problems), "without people": len(content.photos) - len(ids)}
        ),
        "photos_unreadable": {"count": len(problems), "examples": named[:LISTED], "ids": list(problems)},
        "people": len(there),
        "people_dropped": dropped,
        "detections": None,
        "detections_dropped": {},
        "sources": fingerprints | {"photos": str(sources.photos.path), "detections": None},
    }
    if boxes:
        return _add_detections(summary, directory, boxes, fingerprints["detections"])
    save_json(directory / "summary.json", summary)
    return summary


def _require_people(people: records.People, dropped: dict[str, int], sources: Sources) -> None:
    """Raises ValueError if no people are left of annotations that should have some."""
    if sources.with_people and not len(people):
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "it has none"
        raise ValueError(f"{sources.annotations}: no annotation is a person that could be used ({reasons})")


def _have_photos(summary: dict, directory: pathlib.Path, boxes: Boxes) -> bool:
    """Returns whether a finished split has the boxes' photos, those apart that cannot be read."""
    known = {*_photo_ids(directory), *summary["photos_unreadable"]["ids"]}
    return known.issuperset(boxes.people.photo_id.tolist())


def _photo_ids(directory: pathlib.Path) -> list[int]:
    """Returns the ids of a split's photos, in their order (ascending)."""
    path = directory / records.TRUTH["coco"]
    images = validation.require(validation.read_json(path), "images", list, str(path))
    return [validation.require(image, "id", int, f"{path}: images[{row}]") for row, image in enumerate(images)]


def _add_detections(summary: dict, directory: pathlib.Path, boxes: Boxes, fingerprint: dict | None) -> dict:
    """Writes a split's boxes, then its summary, and returns that."""
    there = records.on_photos(boxes.people, _photo_ids(directory))
    _save_people(directory / "detections.npz", there)
    summary = summary | {
        "detections": len(there),
        "detections_dropped": boxes.dropped | _counted({NO_PHOTO: len(boxes.people) - len(there)}),
        "sources": summary["sources"] | {"detections": fingerprint},
    }
    save_json(directory / "summary.json", summary)
    return summary


def _counted(reasons: dict[str, int]) -> dict[str, int]:
    """Returns the reasons that apply."""
    return {reason: count for reason, count in reasons.items() if count}


def _save_people(path: pathlib.Path, people: records.People) -> None:
    partial = path.with_name(f".{path.name}")
    np.savez_compressed(partial, **vars(people))
    os.replace(partial, path)


@contextlib.contextmanager
def replacing(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a hidden directory to write to, and renames it to `directory` at the end if nothing went wrong.

    What an earlier, interrupted run left is removed. A `directory` of before stays until the new one is whole.
    """
    partial, old = (directory.with_name(f".{directory.name}.{tail}") for tail in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if directory.exists():
        os.rename(directory, old)
    os.rename(partial, directory)
    shutil.rmtree(old, ignore_errors=True)
