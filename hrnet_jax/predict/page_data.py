"""What the gallery of a run loads: photos, poses and skeleton as JSON in statements of JavaScript."""

import dataclasses
import json
import math
import os
import pathlib
import urllib.parse
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from hrnet_jax import html_page, visualize
from hrnet_jax.predict import poses, sources
from hrnet_jax.skeletons import Skeleton

THUMBNAIL_SIZE = 640  # pixels of the longer side at most


@dataclasses.dataclass(frozen=True)
class Photo:
    """What the gallery shows of one photo."""

    row: list  # [source, frame, seconds, number of people, width, height]
    poses: dict[str, Any]  # people, and the URL of the original photo
    jpeg: bytes  # thumbnail


def make_photo(photo: dict[str, Any], picture: np.ndarray, skeleton: Skeleton, out_dir: pathlib.Path) -> Photo:
    """Returns what the gallery in `out_dir` shows of a photo, see `page.Writer.add`."""
    people = [_person(person, skeleton, photo["source"]) for person in photo["people"]]
    row = [
        photo["source"],
        photo["frame"],
        rounded(photo["time"], 3),
        len(people),
        photo["width"],
        photo["height"],
    ]
    return Photo(row, {"people": people, "original": _url_of_original(photo, out_dir)}, _thumbnail(picture))


def rows_script(photos: Sequence[Photo]) -> str:
    """Returns the statement that hands the names of photos to the page."""
    rows = ",\n".join(to_json(photo.row) for photo in photos)
    return f"received.rows.push({rows});\n"


def poses_script(number: int, photos: Sequence[Photo], thumbnails: Sequence[str]) -> str:
    """Returns the statement that hands the poses of file `number` to the page; `thumbnails` are URLs."""
    entries = [photo.poses | {"thumbnail": url} for photo, url in zip(photos, thumbnails, strict=True)]
    return f"received.poses.set({number}, {to_json(entries)});\n"


def skeleton_data(skeleton: Skeleton) -> dict[str, Any]:
    """Returns what the page needs to draw a skeleton, with the colours of `visualize`."""
    pairs = skeleton.flip_pairs
    sides = {joint: side for pair in pairs for joint, side in zip(pair, ("left", "right"), strict=True)}
    return {
        "joints": skeleton.joints,
        "sides": [sides.get(joint, "middle") for joint in range(skeleton.num_joints)],
        "limbs": skeleton.limbs,
        "colors": {
            "left": visualize.LEFT,
            "right": visualize.RIGHT,
            "middle": visualize.MIDDLE,
            "outline": visualize.OUTLINE,
        },
    }


def to_json(value: Any) -> str:
    """Returns ASCII that is JSON, valid in a script element and in a script file."""
    return html_page.escape_json(json.dumps(value, separators=(",", ":"), allow_nan=False))


def _person(person: dict[str, Any], skeleton: Skeleton, source: str) -> dict[str, Any]:
    """Returns a person with rounded numbers and the joints as one list [x, y, score, x, ...]."""
    joints = poses.shown_joints(person)
    if len(joints) != skeleton.num_joints:
        wanted = f"skeleton {skeleton.name!r:.100} has {skeleton.num_joints}"
        raise ValueError(f"{source!r:.200}: a person has {len(joints)} joints, but {wanted}")
    flat = [rounded(value, digits) for joint in joints for value, digits in zip(joint, (1, 1, 3), strict=True)]
    names = ("score",) if "filled" in person else ("box_score", "score")  # found without a box, or in one
    scores = {name: rounded(person[name], 3) for name in names}
    return {"box": [rounded(side, 1) for side in person["box"]], "joints": flat, **scores}


def rounded(value: float | None, digits: int) -> float | None:
    """Returns a rounded number, None if there is none or it is not finite."""
    return round(float(value), digits) if value is not None and math.isfinite(value) else None


def _thumbnail(picture: np.ndarray) -> bytes:
    factor = THUMBNAIL_SIZE / max(picture.shape[:2])
    if factor < 1:
        height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return visualize.encode_jpeg(picture)


def _url_of_original(photo: dict[str, Any], out_dir: pathlib.Path) -> str | None:
    """Returns the URL of a photo's file relative to the page. None for a frame of a video, or without a file."""
    return None if sources.is_video(photo["source"]) else relative_url(photo["source"], out_dir)


def relative_url(source: str, folder: pathlib.Path) -> str | None:
    """Returns the URL of a file relative to a page in a folder. None if there is no such file."""
    if not os.path.isfile(source):
        return None
    try:
        path = os.path.relpath(os.path.realpath(source), os.path.realpath(folder))
    except ValueError:  # another drive
        return None
    return urllib.parse.quote(os.fsencode(path.replace(os.sep, "/")))
