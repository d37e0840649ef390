"""The photos and videos to predict: files, folders, globs, lists of paths."""

import dataclasses
import glob
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence

from hrnet_jax import validation
from hrnet_jax.predict import photos

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts", ".m2ts"),
    ".ogv",
)

STDIN, LIST = "-", ".txt"
_GLOB = frozenset("*?[")


@dataclasses.dataclass(frozen=True)
class Sources:
    """Photos and videos, in order.

    Attributes:
      paths: as given, or below the folder given.
      folders: absolute. Results of the photos in them are named by the path from there, others by the file's name.
    """

    paths: Sequence[str]
    folders: Sequence[str]

    def name(self, path: str) -> str:
        """Returns the name of the results of a photo or video, unlike all others, with ``/`` on any system."""
        absolute = pathlib.Path(os.path.abspath(path))
        around = [folder for folder in self.folders if absolute.is_relative_to(folder)]
        return absolute.relative_to(max(around, key=len)).as_posix() if around else absolute.name

    def share(self, process: int, processes: int) -> Sequence[str]:
        """Returns the paths of one of several processes. Raises ValueError if there is no such process."""
        if not 0 <= process < processes:
            raise ValueError(f"--process (={process}) must be at least 0 and below --processes (={processes})")
        return self.paths[process::processes]


def is_video(path: str) -> bool:
    """Whether a path is that of a video, by its suffix."""
    return pathlib.PurePath(path).suffix.lower() in VIDEO_SUFFIXES


def find(names: Iterable[str], stdin: Iterable[str] = sys.stdin) -> Sources:
    """Lists the photos and videos of a command line.

    Args:
      names: files, folders (searched below, in order, for photos and videos by their suffix), globs (``**`` for
        any folders), text files named ``.txt`` with a path in each line, and ``-`` for such lines from `stdin`.
      stdin: the lines of standard input.

    Raises:
      FileNotFoundError: a file, or what a glob stands for, does not exist. Paths in lists are not looked at yet.
      ValueError: there is nothing to predict.
    """
    names = list(names)
    if not names:
        raise ValueError("nothing to predict: give photos, folders, videos, a .txt file of paths, or -")
    paths = list(dict.fromkeys(path for name in names for path in _expand(name, stdin)))
    if not paths:
        raise ValueError(f"nothing to predict: there is no photo or video in {', '.join(names):.300}")
    found = Sources(paths, [os.path.abspath(name) for name in names if os.path.isdir(name)])
    if len(set(map(found.name, paths))) < len(paths):
        found = Sources(paths, [os.path.commonpath({os.path.dirname(os.path.abspath(path)) for path in paths})])
    return found


def _expand(name: str, stdin: Iterable[str]) -> Iterator[str]:
    """Yields the photos and videos of one argument."""
    if name == STDIN:
        return _lines(stdin)
    path = pathlib.Path(name)
    if path.is_dir():
        return _in_folder(name)
    if path.is_file() and path.suffix.lower() == LIST:
        return _lines(path.read_text("utf-8", "surrogateescape").splitlines())
    if path.exists() or path.is_symlink():
        return iter([name])
    if _GLOB & set(name):
        return _matches(name)
    raise validation.missing(path)


def _lines(lines: Iterable[str]) -> Iterator[str]:
    return filter(None, (line.strip() for line in lines))


def _in_folder(folder: str) -> Iterator[str]:
    """Yields the photos and videos in a folder and below. Hidden ones are left out."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):  # links could lead in circles
            yield from _in_folder(entry.path)
        elif is_video(entry.name) or pathlib.PurePath(entry.name).suffix.lower() in photos.SUFFIXES:
            yield entry.path


def _matches(pattern: str) -> Iterator[str]:
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise FileNotFoundError(f"{pattern} does not exist, and no file matches it")
    for path in found:
        yield from _in_folder(path) if os.path.isdir(path) else [path]
