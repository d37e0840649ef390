"""Reads PoseTrack's files, of ground truth or results, and finds them in folders."""

import pathlib
from collections.abc import Iterator

from hrnet_jax import validation
from hrnet_jax.datasets import posetrack, posetrack17, posetrack18


def read(path: pathlib.Path) -> posetrack.Video:
    """Reads a file of either format.

    Raises:
      FileNotFoundError, OSError: it cannot be read.
      ValueError: it has neither format, or an entry is invalid. The error names file, entry and value.
    """
    content = validation.read_json(path)
    if isinstance(content, dict) and "annolist" in content:
        year, frames = 2017, posetrack17.frames(content, str(path))
    elif isinstance(content, dict) and "images" in content:
        year, frames = 2018, posetrack18.frames(content, str(path))
    else:
        found = validation.short_repr(list(content) if isinstance(content, dict) else content)
        raise ValueError(
            f"{path} is no file of PoseTrack: it has neither `images`, `annotations` and `categories` (2018) nor"
            f" `annolist` (2017), but {found}"
        )
    video = posetrack.assemble(path, year, list(frames))
    _check_one_video(video, path)
    return video


def _check_one_video(video: posetrack.Video, path: pathlib.Path) -> None:
    """Raises ValueError for merged files: track ids are of one video."""
    folders = sorted({name.rpartition("/")[0] for name in video.frames})
    if len(folders) > 1:
        found = validation.short_repr(folders)
        raise ValueError(f"{path} has frames of {len(folders)} videos ({found}): write one file for each sequence")
    if not folders:
        raise ValueError(f"{path} has no frames: download or write it again")


def pairs(truth: pathlib.Path, results: pathlib.Path) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """Yields the files of ground truth in a folder, in the order of names, each with the file of results.

    Raises FileNotFoundError if there is no ground truth, or a sequence lacks its results.
    """
    files = sorted(truth.glob("*.json"))
    if not files:
        raise FileNotFoundError(
            f"{truth} holds no .json files: give the folder of ground truth, such as annotations/val"
        )
    for file in files:
        if not (results / file.name).is_file():
            raise validation.missing(results / file.name)
        yield file, results / file.name
