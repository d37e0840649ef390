"""The videos and folders of frames in which people are followed."""

import collections
import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterator

from hrnet_jax.predict import sources
from hrnet_jax.predict.items import Item

MOST_LISTED = 5  # gaps in a message

_NUMBER = re.compile(r"\d+")


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A video, or the photos of a folder in the order of the numbers in their names.

    Attributes:
      source: path of the video or folder.
      name: of the results, see `Sources.name`.
      paths: the video, or the photos.
      numbers: of the photos, increasing; none for a video.
    """

    source: str
    name: str
    paths: tuple[str, ...]
    numbers: tuple[int, ...] = ()

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return not self.numbers

    @property
    def base(self) -> str:
        """The name of the folder or video, without its ending."""
        path = pathlib.PurePath(self.name)
        return path.stem if self.is_video else path.name

    @property
    def step(self) -> int:
        """The difference of the numbers of neighbouring frames."""
        return min((later - number for number, later in itertools.pairwise(self.numbers)), default=1)

    def photos(self, rate: float, every: int = 1) -> Iterator[Item]:
        """Yields every so many of a folder's frames, still to be read, with their numbers and times."""
        for path, number in zip(self.paths[::every], self.numbers[::every], strict=True):
            yield Item(path, frame=number, time=(number - self.numbers[0]) / rate)

    def notes(self) -> list[str]:
        """Tells of frames that are missing among a folder's numbers."""
        pairs, step = itertools.pairwise(self.numbers), self.step
        gaps = [(number + step, later - step) for number, later in pairs if later - number > step]
        if not gaps:
            return []
        missing = sum(max(1, (last - first) // step + 1) for first, last in gaps)
        listed = [str(first) if first >= last else f"{first} to {last}" for first, last in gaps[:MOST_LISTED]]
        more = f" and {len(gaps) - MOST_LISTED} more gaps" if len(gaps) > MOST_LISTED else ""
        return [
            f"{self.source}: {missing:,} frames are missing ({', '.join(listed)}{more}): people are followed"
            " across, for as long as they are remembered"
        ]


def group(found: sources.Sources) -> list[Sequence]:
    """Returns the videos, and the photos by their folders, each where its first photo is.

    Raises ValueError if the photos of a folder cannot be put in order.
    """
    parts: dict[str, list[str]] = collections.defaultdict(list)
    for path in found.paths:
        parts[path if sources.is_video(path) else os.path.dirname(path) or os.curdir].append(path)
    if len({_name(source, found) for source in parts}) < len(parts):
        above = os.path.commonpath([os.path.dirname(os.path.abspath(source)) for source in parts])
        found = dataclasses.replace(found, folders=[above])
    return [
        Sequence(source, found.name(source), (source,))
        if sources.is_video(source)
        else _folder(source, _name(source, found), paths)
        for source, paths in parts.items()
    ]


def _name(source: str, found: sources.Sources) -> str:
    """Returns the name of a sequence. A folder that was given itself has its own."""
    name = found.name(source)
    return pathlib.PurePath(os.path.abspath(source)).name if name == os.curdir else name


def _folder(folder: str, name: str, paths: list[str]) -> Sequence:
    """Puts the photos of a folder in order."""
    numbers = {path: _number(path) for path in paths}
    ordered = sorted(paths, key=lambda path: numbers[path])
    for path, after in itertools.pairwise(ordered):
        if numbers[path] == numbers[after]:
            raise ValueError(
                f"{path} and {after} both have the frame number {numbers[path]}: give each video's frames a folder"
            )
    return Sequence(folder, name, tuple(ordered), tuple(numbers[path] for path in ordered))


def _number(path: str) -> int:
    """Returns the last number in the name of a frame. Raises ValueError if there is none."""
    digits = _NUMBER.findall(pathlib.PurePath(path).stem)
    if not digits:
        raise ValueError(
            f"{path} has no frame number in its name, as in 000012.jpg: number the frames, or leave it out"
        )
    return int(digits[-1])
