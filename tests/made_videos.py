"""Small videos: a pattern without symmetry whose frames are each brighter than the one before by `STEP`."""

import fractions
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

UPRIGHT = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
STEP, PERIOD = 8, 20  # grey levels; frames
TURNS = {
    90: [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30],
    180: [-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30],
    270: [0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30],
}
"""The matrices of mp4's track header: the picture is shown turned clockwise by as many degrees."""


def photo(index: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """The frame of a video, uint8 RGB. Colours change slowly, so that codecs keep them."""
    height, width = size
    pixels = np.zeros((height, width, 3), np.float32)
    pixels[..., 0] = np.linspace(40, 90, width)
    pixels[..., 1] = np.linspace(70, 20, height)[:, None]
    pixels[..., 2] = 40
    return (pixels + STEP * (index % PERIOD)).astype(np.uint8)


def write_mpeg4(path: pathlib.Path, frames: int = 20, rate: float = 25, turn: int = 0) -> pathlib.Path:
    """Writes a video without sound by OpenCV, with the mark that it is to be shown turned."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (96, 64))
    for index in range(frames):
        writer.write(cv2.cvtColor(photo(index), cv2.COLOR_RGB2BGR))
    writer.release()
    if turn:
        content = path.read_bytes()
        header = content.index(UPRIGHT, content.index(b"tkhd"))
        matrix = np.array(TURNS[turn], ">i4").tobytes()
        path.write_bytes(content[:header] + matrix + content[header + len(matrix) :])
    return path


def write_with_sound(
    path: pathlib.Path, times: Sequence[float], seconds: float, codec: str = "aac"
) -> pathlib.Path:
    """Writes H.264 frames at these times, and a tone of so many seconds."""
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video, sound = container.add_stream("libx264", rate=30), container.add_stream(codec, rate=44100)
        video.height, video.width, video.codec_context.time_base = 64, 96, fractions.Fraction(1, 90000)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(photo(index), format="rgb24")
            frame.pts, frame.time_base = round(time * 90000), fractions.Fraction(1, 90000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = np.sin(np.arange(round(seconds * 44100)) / 16).astype(np.float32) * 0.3
        for start in range(0, len(tone), 1024):
            samples = (tone[None, start : start + 1024] * 32767).astype(np.int16)
            chunk = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = 44100, start, fractions.Fraction(1, 44100)
            container.mux(sound.encode(chunk))
        container.mux(sound.encode(None))
    return path
