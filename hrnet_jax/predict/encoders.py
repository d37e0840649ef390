"""Encoders of mp4 files: H.264 and sound by the package av, MPEG-4 by OpenCV."""

import fractions
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

TICKS = 90_000  # of the clock of an H.264 video in a second: all usual frame rates divide it
BT709 = 1  # the number of this standard of colours in H.264, and of its primaries and transfer curve
LIMITED_RANGE = 1  # luma in 16 to 235, as players expect


class H264:
    """Writes H.264, which all browsers play, and copies the sound of another video."""

    def __init__(self, path: pathlib.Path, size: tuple[int, int], rate: float, source: str | os.PathLike | None):
        import av  # pyright: ignore[reportMissingImports]

        self.notes: list[str] = []
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})  # playable while it loads
        self._stream = self._container.add_stream("libx264", rate=fractions.Fraction(rate).limit_denominator(1001))
        self._stream.height, self._stream.width = size
        self._stream.options = {"crf": "20", "preset": "veryfast"}
        context = self._stream.codec_context
        context.time_base = fractions.Fraction(1, TICKS)
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        self._sound = None if source is None else Sound(source, self._container, self.notes)
        self._duration, self._last, self._end = round(TICKS / rate), -1, 0.0

    def write(self, photo: np.ndarray, seconds: float) -> None:
        """Adds a photo, and the sound up to its time."""
        import av  # pyright: ignore[reportMissingImports]

        frame = av.VideoFrame.from_ndarray(photo, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709"
        )
        self._last = frame.pts = max(round(seconds * TICKS), self._last + 1)
        frame.time_base, frame.duration = fractions.Fraction(1, TICKS), self._duration
        self._container.mux(self._stream.encode(frame))
        self._end = (self._last + self._duration) / TICKS
        if self._sound is not None:
            self._sound.copy(until=seconds)

    def close(self, complete: bool) -> None:
        """Ends the file. Sound after the last frame is kept if the video is complete."""
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.copy(until=float("inf") if complete else self._end)
            self._sound.close()
        self._container.close()


class Sound:
    """The first audio stream of a video, copied to another without decoding."""

    def __init__(self, source: str | os.PathLike, container: Any, notes: list[str]):
        import av  # pyright: ignore[reportMissingImports]

        self._source, self._container, self._notes = source, container, notes
        self._input = av.open(os.fspath(source))
        self._packets = self._read()
        self._next = next(self._packets, None)

    def _read(self) -> Iterator[Any]:
        """Adds the stream to the container and yields its packets, their times counted from the first frame."""
        from av import error  # pyright: ignore[reportMissingImports]

        audio, video = self._input.streams.audio, self._input.streams.video
        if not audio:
            return
        if audio[0].codec_context.name not in self._container.supported_codecs:
            self._notes.append(f"mp4 cannot hold the sound of {self._source}, {audio[0].codec_context.name}")
            return
        stream = self._container.add_stream_from_template(audio[0])
        start = (video[0].start_time or 0) * (video[0].time_base or 0) if video else 0
        try:
            for packet in self._input.demux(audio[0]):
                if packet.pts is not None and packet.dts is not None:  # the last has none
                    shift = round(start / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                    yield packet
        except error.FFmpegError as reason:
            self._notes.append(f"the sound of {self._source} is damaged and ends early ({reason})")

    def copy(self, until: float) -> None:
        """Copies the packets that begin before a time in seconds."""
        while self._next is not None and self._next.pts * self._next.time_base < until:
            self._container.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Closes the source."""
        self._input.close()


class Mpeg4:
    """Writes MPEG-4 at a constant rate: a frame is repeated until the next is due."""

    def __init__(self, path: pathlib.Path, size: tuple[int, int], rate: float):
        self.notes: list[str] = []
        self._path, self._rate, self._frames = path, rate, 0
        self._last: np.ndarray | None = None
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size[::-1])
        if not self._writer.isOpened():  # it says nothing by itself
            raise OSError(0, "OpenCV cannot open it for MPEG-4", str(path))

    def write(self, photo: np.ndarray, seconds: float) -> None:
        """Adds a photo. It is dropped if another is shown at its time already."""
        due = round(seconds * self._rate)
        while self._last is not None and self._frames < due:
            self._add(self._last)
        self._last = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
        if self._frames <= due:
            self._add(self._last)

    def _add(self, photo: np.ndarray) -> None:
        self._writer.write(photo)
        self._frames += 1

    def close(self, complete: bool) -> None:
        """Ends the file, and checks that it holds the frames: OpenCV does not report errors of writing."""
        del complete
        self._writer.release()
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        written = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if written != self._frames:
            raise OSError(0, f"it holds {written} of {self._frames} frames", str(self._path))
