"""Writing of prepared splits, see `records`. Complete parts are reused."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from hrnet_jax import buckets, skeletons, validation
from hrnet_jax.datasets import annotations, records, write_photos
from hrnet_jax.datasets.annotations import Selection, Sources, SplitContent
from hrnet_jax.skeletons import Skeleton

MAX_EXAMPLES = 20  # unreadable photos named in the summary
NO_PHOTO = "photo unreadable"


Examine = Callable[[SplitContent, Mapping[str, Sequence[str]]], list[dict]]
"""Returns the findings in a split's content, given the names of odd photos by kind (`odd_photos`)."""


def prepare(
    sources: Sources,
    directory: pathlib.Path,
    skeleton: Skeleton,
    force: bool,
    examine: Examine = lambda content, odd: [],
) -> tuple[dict, bool]:
    """Writes a split to `directory`, unless one from the same files is there already. `force` writes it anyway.

    Findings of `examine` stand in the summary.

    Returns the summary, and whether anything was written. Raises FileNotFoundError if a file is missing, and
    ValueError if an entry is invalid, or `directory` holds anything but a prepared split, such as the photos.
    """
    buckets.check_encoding(directory.absolute())
    is_empty = directory.is_dir() and not any(directory.iterdir())
    if directory.exists() and not is_empty and not (directory / "summary.json").is_file():
        raise ValueError(
            f"{directory} is there already and is not a prepared split (it has no summary.json), so it is not"
            " replaced: give another --out, or move it away"
        )
    digests = {name: _digest(path) for name, path in sources.files.items()}
    summary = None if force else _existing_summary(directory, sources, digests, skeleton)
    boxes_digest = digests.get("detections")
    if summary and boxes_digest in (None, summary["sources"]["detections"]):
        return summary, False
    content = annotations.read(sources, skeleton)
    if summary and content.detections and _has_photos(summary, directory, content.detections[0]):
        marked = _with_marks(content, summary.get("photos_marked", []))
        summary = summary | {"findings": examine(marked, summary.get("photos_odd", {}))}
        return _add_detections(summary, directory, content.detections, boxes_digest), True
    with replacing(directory) as partial:
        summary = _write(partial, sources, content, skeleton, digests, examine)
        _check_readable(partial)
        return summary, True


def _check_readable(directory: pathlib.Path) -> None:
    """Raises ValueError unless a split that was just written can be opened, and its last photo read."""
    try:
        photos = records.open_split(directory).photos
        photos[len(photos) - 1]
    except Exception as error:  # TFDS raises anything on damaged records
        raise ValueError(
            f"{directory.parent} cannot hold a prepared split: what was written cannot be read back"
            f" ({error!r:.200}); check the disk and its file system, or give another --out"
        ) from error


def _digest(path: pathlib.Path) -> dict:
    """Returns name, size and digest of a file, or of the files in a folder."""
    if path.is_dir():
        files = [_digest(file) for file in sorted(path.iterdir()) if file.is_file()]
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        return {"file": path.name, "bytes": sum(file["bytes"] for file in files), "sha256": digest}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}


def _existing_summary(
    directory: pathlib.Path, sources: Sources, digests: dict[str, dict], skeleton: Skeleton
) -> dict | None:
    """Returns the summary of an existing split if it is valid and from the same files, detections aside."""
    try:
        split = records.open_split(directory, with_pixels=False)
    except (FileNotFoundError, ValueError):
        return None
    before = {name: (split.summary["sources"].get(name) or {}).get("sha256") for name in digests}
    same = all(before[name] == digests[name]["sha256"] for name in digests if name != "detections")
    same &= split.summary.get("published", "") == sources.published
    return split.summary if same and split.skeleton == skeleton else None


def _write(
    directory: pathlib.Path,
    sources: Sources,
    content: SplitContent,
    skeleton: Skeleton,
    digests: dict[str, dict],
    examine: Examine,
) -> dict:
    """Writes a split into an empty directory and returns its summary."""
    people, dropped = content.ground_truth
    _require_people(people, dropped, sources)
    tables = [people, content.detections[0]] if content.detections else [people]
    used = {photo_id for table in tables for photo_id in table.photo_id.tolist()}
    is_train = sources.split.startswith("train")  # photos without annotations are of no use then
    ids = sorted(used.union(content.annotated) if is_train else content.photos)
    listed = [content.photos[number] for number in ids]
    problems, odd, marked = write_photos.write(directory, listed, sources.photos, sources.split)
    marks = [
        [photo.id, photo.width, photo.height, photo.mark, int(photo.is_as_shown)] for photo in marked.values()
    ]
    kept = [photo_id for photo_id in ids if photo_id not in problems]
    readable = records.on_photos(people, kept)
    dropped = dropped | _nonzero({NO_PHOTO: len(people) - len(readable)})
    _require_people(readable, dropped, sources)
    _save_people(directory / "people.npz", readable)
    content.write_truth(directory, kept)
    skeletons.save(skeleton, directory / "skeleton.json")
    named = [f"{content.photos[photo_id].file_name}: {problem}" for photo_id, problem in problems.items()]
    unused = len(content.photos) - len(ids)
    names = {photo.file_name: sources.photos.find(photo.file_name) for photo in listed if photo.id not in problems}
    renamed = [f"{name} as {found}" for name, found in names.items() if not found.endswith(name)]
    summary = {
        "format": records.FORMAT,
        "dataset": sources.dataset,
        "published": sources.published,
        "split": sources.split,
        "photos": len(kept),
        "photos_dropped": _nonzero({"unreadable": len(problems), "without people": unused}),
        "photos_unreadable": {"count": len(problems), "examples": named[:MAX_EXAMPLES], "ids": list(problems)},
        "photos_odd": odd,
        "photos_marked": marks,
        "photos_renamed": {"count": len(renamed), "examples": renamed[:MAX_EXAMPLES]},
        "people": len(readable),
        "people_dropped": dropped,
        "people_missed": content.missed({*kept}),
        "findings": examine(_with_marks(content, marks), odd),
        "detections": None,
        "detections_dropped": {},
        "sources": digests | {"photos": str(sources.photos.path), "detections": None},
    }
    if content.detections:
        return _add_detections(summary, directory, content.detections, digests["detections"])
    return _save_summary(directory, summary)


def _with_marks(content: SplitContent, marks: Sequence[Sequence[int]]) -> SplitContent:
    """Completes photos by rows of id, width, height, `mark` and `is_as_shown`."""
    photos = dict(content.photos)
    for number, width, height, mark, is_as_shown in marks:
        of_file = {"width": width, "height": height, "mark": mark, "is_as_shown": bool(is_as_shown)}
        photos[number] = dataclasses.replace(photos[number], **of_file)
    return dataclasses.replace(content, photos=photos)


def _require_people(people: records.People, dropped: dict[str, int], sources: Sources) -> None:
    """Raises ValueError if nobody is left of annotations of people."""
    if sources.with_people and not len(people):
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "it has none"
        raise ValueError(
            f"{sources.annotations}: no annotation is a person that could be used ({reasons}):"
            " `python -m hrnet_jax.doctor` says more of the data"
        )


def _has_photos(summary: dict, directory: pathlib.Path, boxes: records.People) -> bool:
    """Returns whether a split has the photos of the boxes, unreadable ones aside."""
    known = {*_photo_ids(directory), *summary["photos_unreadable"]["ids"]}
    return known.issuperset(boxes.photo_id.tolist())


def _photo_ids(directory: pathlib.Path) -> list[int]:
    """Returns the ids of a split's photos, ascending as its records are."""
    path = directory / records.TRUTH["coco"]
    images = validation.require(validation.read_json(path), "images", list, str(path))
    return [validation.require(image, "id", int, f"{path}: images[{row}]") for row, image in enumerate(images)]


def _add_detections(summary: dict, directory: pathlib.Path, detections: Selection, digest: dict | None) -> dict:
    """Writes a split's boxes and summary, and returns the summary."""
    boxes, dropped = detections
    readable = records.on_photos(boxes, _photo_ids(directory))
    _save_people(directory / "detections.npz", readable)
    summary = summary | {
        "detections": len(readable),
        "detections_dropped": dropped | _nonzero({NO_PHOTO: len(boxes) - len(readable)}),
        "sources": summary["sources"] | {"detections": digest},
    }
    return _save_summary(directory, summary)


def _nonzero(reasons: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if count}


def _save_people(path: pathlib.Path, people: records.People) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **vars(people))
    buckets.write_atomically(path, content.getvalue())


def _save_summary(directory: pathlib.Path, summary: dict) -> dict:
    buckets.write_atomically(directory / "summary.json", json.dumps(summary))
    return summary


@contextlib.contextmanager
def replacing(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a hidden directory to write to, and renames it to `directory` on success.

    Leftovers of an interrupted run are removed. An old `directory` stays until the new one is complete.
    """
    partial, old = (directory.with_name(f".{directory.name}.{tail}") for tail in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
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
