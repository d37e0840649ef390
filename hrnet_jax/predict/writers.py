"""The files of one photo: picture, crops, heatmaps, OpenPose's JSON."""

import json
import pathlib
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from hrnet_jax import buckets, visualize
from hrnet_jax.predict.items import Result
from hrnet_jax.predict.poses import Poses, shown_joints

OPENPOSE_VERSION = 1.3


def write_picture(result: Result, path: pathlib.Path, joint_score: float) -> None:
    """Writes the photo with its skeletons as a JPEG file."""
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    target = path if is_jpeg else path.with_name(f"{path.name}.jpg")  # `a.png` and `a.jpg` may lie side by side
    _write(target, visualize.encode_jpeg(result.draw(joint_score)))


def write_crops(result: Result, path: pathlib.Path, joint_score: float) -> None:
    """Writes what the network saw of each person, ``PHOTO/0.png`` and so on."""
    del joint_score
    for i, crop in enumerate(() if result.crops is None else result.crops):
        _write(path / f"{i}.png", _encode_png(crop))


def write_heatmaps(result: Result, path: pathlib.Path, joint_score: float) -> None:
    """Writes the heatmaps of each person over the crop, ``PHOTO/0.png`` and so on."""
    del joint_score
    if result.crops is None or result.heatmaps is None:
        return
    for i, (crop, heatmaps) in enumerate(zip(result.crops, result.heatmaps, strict=True)):
        stride = len(crop) / len(heatmaps)
        _write(path / f"{i}.png", _encode_png(visualize.draw_heatmap(crop, heatmaps, stride)))


def write_openpose(result: Result, path: pathlib.Path, joint_score: float) -> None:
    """Writes ``PHOTO_keypoints.json`` in the form of OpenPose's output."""
    del joint_score
    _write(path.with_name(f"{path.name}_keypoints.json"), json.dumps(to_openpose(result.poses)).encode())


WRITERS: Mapping[str, Callable[[Result, pathlib.Path, float], None]] = {
    "pictures": write_picture,
    "crops": write_crops,
    "heatmaps": write_heatmaps,
    "openpose": write_openpose,
}
"""(photo, ``OUT/KIND/PHOTO``, joint score) -> files, by kind of output."""


def to_openpose(poses: Poses) -> dict:
    """Returns poses in the form of OpenPose's JSON output, with the names of the joints."""
    people = [
        {
            "person_id": [person.get("id", -1)],
            "pose_keypoints_2d": [number or 0.0 for joint in shown_joints(person) for number in joint],
        }
        for person in poses.to_json()["people"]
    ]
    skeleton = poses.skeleton
    about = (
        f"the {skeleton.num_joints} joints of {skeleton.name}, in the order of joint_names: not those of OpenPose"
    )
    return {
        "version": OPENPOSE_VERSION,
        "joint_set": about,
        "joint_names": list(skeleton.joints),
        "people": people,
    }


def _encode_png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()


def _write(path: pathlib.Path, content: bytes) -> None:
    with buckets.explain_write_errors(path, "continue with --resume"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
