"""Reads PoseTrack's files, of ground truth or results, and finds them in folders.

Those of 2017 are JSON or MATLAB's, with the same content.
"""

import pathlib
from collections.abc import Iterator

from hrnet_jax import validation
from hrnet_jax.datasets import matlab, posetrack, posetrack17, posetrack18

MATLAB = ".mat"


def read(path: pathlib.Path) -> posetrack.Video:
    """Reads a file of either format.

    Raises:
      FileNotFoundError, OSError: it cannot be read.
      ValueError: it has neither format, or an entry is invalid. The error names file, entry and value.
    """
    year, frames = read_frames(path)
    video = posetrack.assemble(path, year, frames)
    _check_one_video(video, path)
    return video


def read_frames(path: pathlib.Path) -> tuple[int, list[posetrack.Frame]]:
    """Reads the year of a file's format and its frames, perhaps of several videos. Raises as `read` does."""
    if path.suffix == MATLAB:
        content = {"annolist": matlab.read_structures(path, "annolist")}
    else:
        content = validation.read_json(path)
    if isinstance(content, dict) and "annolist" in content:
        return 2017, list(posetrack17.frames(content, str(path)))
    if isinstance(content, dict) and "images" in content:
        return 2018, list(posetrack18.frames(content, str(path)))
    found = validation.short_repr(list(content) if isinstance(content, dict) else content)
    raise ValueError(
        f"{path} is no file of PoseTrack: it has neither `images`, `annotations` and `categories` (2018) nor"
        f" `annolist` (2017), but {found}"
    )


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of sequences in a folder, in the order of names: JSON, or else MATLAB."""
    return sorted(folder.glob("*.json")) or sorted(folder.glob(f"*{MATLAB}"))


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
