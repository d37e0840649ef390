"""Reads and writes videos frame by frame.

OpenCV reads. The package av writes H.264 and copies the sound; without it, OpenCV writes MPEG-4.
"""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np

from hrnet_jax import buckets, validation

USUAL_RATES = 1, 240  # frames per second; some files state the ticks of their clock instead
DEFAULT_RATE = 30.0
LOST_SECONDS = 1.0  # the stated length of a complete file is that of its sound, and up to so much longer


class VideoError(ValueError):
    """A video, or the rest of it, cannot be read."""


@dataclasses.dataclass(frozen=True)
class Properties:
    """What the header of a video states."""

    rate: float  # frames per second, on average
    size: tuple[int, int]  # height and width as shown
    seconds: float  # length
    stated_rate: float = dataclasses.field(default=DEFAULT_RATE, compare=False)  # `rate`, if that is a usual one


def read_properties(path: str | os.PathLike) -> Properties:
    """Reads the header of a video. Raises FileNotFoundError or VideoError if there is none."""
    capture = _open(pathlib.Path(path))
    try:
        return _properties(capture)
    finally:
        capture.release()


def read_frames(path: str | os.PathLike, every: int = 1) -> Iterator[tuple[int, float, np.ndarray]]:
    """Reads a video lazily.

    Args:
      path: A video file.
      every: Frames 0, `every`, 2 `every` and so on are read.

    Yields:
      The frame's index, its time in seconds after the first, and the photo [H, W, 3], uint8 RGB, as it is shown:
      turned if the file says so. Times increase.

    Raises:
      FileNotFoundError: the file is missing.
      VideoError: it is not a video, or has no frames. Raised after the last frame: frames are missing at the end.
    """
    path, seconds, index = pathlib.Path(path), -1.0, -1
    capture = _open(path)
    try:
        stated = _properties(capture)
        while capture.grab():
            index += 1
            time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = time if time > seconds else seconds + 1 / stated.rate
            if index % every == 0:
                yield index, seconds, cv2.cvtColor(_decoded(capture, path), cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    _check_end(path, index + 1, seconds + 1 / stated.rate, stated.seconds)


def _open(path: pathlib.Path) -> cv2.VideoCapture:
    if not path.exists():
        raise validation.missing(path)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's own messages name no file
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise VideoError(f"{path} is not a readable video: it is empty, cut off, or another kind of file")
    return capture


def _properties(capture: cv2.VideoCapture) -> Properties:
    names = cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH
    rate, frames, height, width = map(capture.get, names)
    seconds = frames / rate if rate > 0 else 0.0
    return Properties(rate if _is_usual(rate) else DEFAULT_RATE, (int(height), int(width)), seconds, rate)


def _is_usual(rate: float) -> bool:
    return USUAL_RATES[0] <= rate <= USUAL_RATES[1]


def _decoded(capture: cv2.VideoCapture, path: pathlib.Path) -> np.ndarray:
    read, photo = capture.retrieve()
    if not read:
        raise VideoError(f"{path}: a frame cannot be decoded")
    return photo


def _check_end(path: pathlib.Path, frames: int, end: float, stated: float) -> None:
    """Raises VideoError if there was no frame, or the last ended well before the stated length."""
    if not frames:
        raise VideoError(f"{path} has no frames that can be read")
    if stated - end > min(LOST_SECONDS, stated / 2):
        raise VideoError(f"{path} is cut off or damaged: its frames end at {end:.1f} of {stated:.1f} seconds")


class Encoder(Protocol):
    """Writes frames of one size to a file."""

    notes: list[str]

    def write(self, photo: np.ndarray, seconds: float) -> None:
        """Adds a frame."""
        ...

    def close(self, complete: bool) -> None:
        """Ends the file."""
        ...


class Writer:
    """Writes an mp4 file. It must be closed to be playable; as a context manager it closes itself.

    Frames are shown at their times, also if the intervals vary. H.264 needs even sides: the last column or row of
    pixels is repeated where a side is odd. `notes` says what differs from what was asked for.

    Args:
      path: The file to write.
      rate: Frames per second, on average.
      source: A video whose sound is copied, if the package av is installed.
    """

    def __init__(self, path: str | os.PathLike, rate: float, source: str | os.PathLike | None = None):
        if source is not None and os.path.exists(path) and os.path.samefile(path, source):
            raise ValueError(f"{path} is the source: give another file to write")
        self.notes: list[str] = []
        self._path, self._rate, self._source = pathlib.Path(path), rate, source
        self._encoder: Encoder | None = None
        self._size: tuple[int, int] | None = None

    def write(self, photo: np.ndarray, seconds: float) -> None:
        """Adds a photo [H, W, 3], uint8 RGB, shown from this time on. Raises ValueError if that fails."""
        size = photo.shape[:2]
        with buckets.explain_write_errors(self._path):
            if self._size is None:
                self._size, self._encoder = size, self._open(size)
        if self._encoder is None:
            raise ValueError(f"{self._path} is closed, or could not be written before")
        if size != self._size:
            raise VideoError(
                f"{self._path}: a frame of {size} cannot follow one of {self._size}: leave `video` out of --write"
            )
        padding = (0, size[0] % 2, 0, size[1] % 2)
        with buckets.explain_write_errors(self._path):
            try:
                self._encoder.write(cv2.copyMakeBorder(photo, *padding, cv2.BORDER_REPLICATE), seconds)
            except OSError:
                self._encoder = None  # av crashes if it goes on
                raise

    def close(self, complete: bool = True) -> None:
        """Ends the file. If the video is complete, sound after its last frame is kept. May be called twice."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with buckets.explain_write_errors(self._path):
                encoder.close(complete)
            self.notes += encoder.notes

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(complete=kind is None)

    def _open(self, size: tuple[int, int]) -> Encoder:
        from hrnet_jax.predict import encoders

        even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        if even != size:
            sides = f"{even[1]}x{even[0]}, not {size[1]}x{size[0]}"
            self.notes.append(f"{self._path} is {sides}: the codec needs even sides")
        if importlib.util.find_spec("av") is None:
            self.notes.append(
                f"{self._path} is MPEG-4 without sound, which browsers do not play: "
                "pip install 'hrnet_jax[video]' for H.264 and the sound of the source"
            )
            return encoders.Mpeg4(self._path, even, self._rate)
        return encoders.H264(self._path, even, self._rate, self._source)
