"""Predicts the frames of a video, and writes the video with the skeletons."""

import dataclasses
import pathlib
from collections.abc import Generator, Iterable, Iterator

import tqdm

from hrnet_jax import buckets
from hrnet_jax.predict import following, progress, video
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.options import VIDEO, Options
from hrnet_jax.predict.predictor import Predictor


class Clip:
    """One video to predict; `name` is that of its results. `notes` are about the video that was written."""

    def __init__(self, predictor: Predictor, options: Options, path: str, name: str):
        self.notes: list[str] = []
        self._predictor, self._options, self._path = predictor, options, path
        self._target = target(options, name)
        self._heatmaps = "heatmaps" in options.write

    def results(self) -> Generator[Result, None, None]:
        """Yields the results of the frames in order, while it writes them to the video if that is asked for.

        The video written is playable wherever this ends. Raises FileNotFoundError or VideoError, after all frames
        that can be read.
        """
        properties, every = video.read_properties(self._path), self._options.every
        read = video.read_frames(self._path, every)
        frames = (Item(self._path, photo, index, seconds) for index, seconds, photo in read)
        detect_all, predict = self._options.detect_every == 1, self._predictor.results
        results = predict(frames, heatmaps=self._heatmaps) if detect_all else self._followed(frames)
        total = round(properties.seconds * properties.rate / every) or None
        shown = with_progress(results, self._path, total)
        if VIDEO in self._options.write:
            writer = open_writer(self._target, properties.rate / every, self._path)
            shown = written(shown, writer, self._options.joint_score, self.notes)
        yield from shown

    def _followed(self, frames: Iterable[Item]) -> Iterator[Result]:
        """Yields the results of frames in which people are detected now and then, and followed in between."""
        result = None
        for number, frame in enumerate(frames):
            if result is not None and number % self._options.detect_every:
                poses = result.poses
                found = following.boxes_from_poses(poses.joints, poses.scores, poses.box_scores, poses.size)
                frame = dataclasses.replace(frame, found=found)
            result = self._predictor.result(frame, heatmaps=self._heatmaps)
            yield result


def target(options: Options, name: str) -> pathlib.Path:
    """Returns the path of the video written for the results of a name."""
    suffix = "" if name.lower().endswith(".mp4") else ".mp4"  # `a.mov` and `a.mp4` may lie side by side
    return options.out / VIDEO / f"{name}{suffix}"


def open_writer(path: pathlib.Path, rate: float, source: str | None) -> video.Writer:
    """Returns what writes a video, with the sound of a source. Makes the folder."""
    with buckets.explain_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    return video.Writer(path, rate, source)


def written(
    results: Iterable[Result], writer: video.Writer, joint_score: float, notes: list[str]
) -> Iterator[Result]:
    """Yields results after it wrote the frames with their skeletons. Adds the notes of the writer to `notes`."""
    with writer:
        for result in results:
            writer.write(result.draw(joint_score), result.poses.time or 0.0)
            yield result
    notes += writer.notes


def with_progress(results: Iterable[Result], path: str, total: int | None) -> Iterator[Result]:
    """Shows frames and people per second."""
    bar = tqdm.tqdm(results, desc=path[-40:], total=total, unit="frame", leave=False)
    people = 0
    for result in bar:
        people += len(result.poses)
        bar.set_postfix_str(progress.people_rate(bar, people), refresh=False)
        yield result
