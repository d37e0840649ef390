"""Follows people through a video or a folder of frames, and draws it with their tracks."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Generator, Iterable, Iterator

from hrnet_jax.predict import clips, photos, poses, shards, video
from hrnet_jax.predict.follower import Follower
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.options import VIDEO, Options
from hrnet_jax.predict.predictor import Predictor
from hrnet_jax.predict.sequences import Sequence
from hrnet_jax.predict.track_options import SAVITZKY_GOLAY, TrackOptions
from hrnet_jax.predict.trails import Trails

FRAMES_BETWEEN_STATES = 30  # after which what the tracker remembers is written; a killed run goes on from there

OnError = Callable[[str, photos.PhotoError], None]


class TrackedClip:
    """A video or folder in which people are followed.

    Args:
      predictor: of the poses.
      options: of the run.
      track: of the tracker.
      sequence: the video or folder.
      partial: the file of its lines; what a killed run left there is gone on with.
      on_error: called with a frame of a folder that cannot be read.
    """

    def __init__(
        self,
        predictor: Predictor,
        options: Options,
        track: TrackOptions,
        sequence: Sequence,
        partial: pathlib.Path,
        on_error: OnError,
    ):
        self.notes = sequence.notes()
        self._predictor, self._options, self._track, self._sequence = predictor, options, track, sequence
        self._partial, self._state, self._on_error = partial, shards.state_path(partial), on_error
        self._follower = self._new_follower()
        self._rate = self._find_rate()
        self._offline = track.smoother == SAVITZKY_GOLAY
        self._error: video.VideoError | None = None

    def _new_follower(self) -> Follower:
        options = self._options
        return Follower(self._predictor, self._track, options.detect_every, heatmaps="heatmaps" in options.write)

    def results(self) -> Generator[Result, None, None]:
        """Yields the results of the frames in order that have no line yet, and draws the video.

        Raises FileNotFoundError or VideoError, after all frames that can be read.
        """
        done, frames = self._go_on(), self._frames(self._on_error)
        every = itertools.chain(self._recorded(frames, done), map(self._follower, frames))
        for number, result in enumerate(self._drawn(every, live=not self._offline), 1):
            if number > done:
                yield result
                if number % FRAMES_BETWEEN_STATES == 0:
                    self._follower.save(self._state)

    def finish(self, write: Callable[[Result], object]) -> None:
        """Smooths and draws the whole, and writes its files, if that may depend on later frames.

        Raises VideoError if the end of the video could not be read.
        """
        if self._offline:
            from hrnet_jax.predict import smooth_lines  # loads SciPy's filters

            smooth_lines.rewrite(self._partial, self._predictor.skeleton)
            frames = self._frames(lambda path, error: None)
            for result in self._drawn(self._recorded(frames, self._lines()), live=True):
                write(result)
        self._state.unlink(missing_ok=True)
        if self._error:
            raise self._error

    def _find_rate(self) -> float:
        """Returns the frames per second that are predicted, and notes what is odd about them."""
        source, every = self._sequence.source, self._options.every
        if self._sequence.is_video:
            properties = video.read_properties(source)
            rate = properties.rate / every
            if properties.stated_rate != properties.rate:
                self.notes.append(
                    f"{source} states {properties.stated_rate:g} frames per second: {properties.rate:g} are"
                    " assumed where it has no times"
                )
        else:
            rate = self._track.frame_rate / self._sequence.step / every
        if 1 / rate > self._track.settings.memory_seconds:
            self.notes.append(
                f"{source}: frames are {1 / rate:.3g} seconds apart, and people are remembered for"
                f" {self._track.settings.memory_seconds:g}: nobody is followed; give a smaller --every, or"
                " --tracker=...,memory_seconds=..."
            )
        return rate

    def _go_on(self) -> int:
        """Returns the number of frames that have lines already, after which the tracker goes on."""
        lines, done = self._lines(), 0
        if not lines:
            return 0
        if self._state.is_file():
            done = self._follower.restore(self._state)
        if lines < done:  # a part of them was lost
            self._follower, done = self._new_follower(), 0
        shards.truncate(self._partial, done)
        where = (
            f"goes on after {done:,} frames, with the same ids" if done else "is begun again at its first frame"
        )
        self.notes.append(f"{self._sequence.source} was stopped: it {where}")
        return done

    def _lines(self) -> int:
        """Returns the number of frames that have lines."""
        return sum(1 for _ in shards.read_file(self._partial)) if self._partial.is_file() else 0

    def _frames(self, on_error: OnError) -> Iterator[Item]:
        """Yields the frames with their photos. Keeps the error at the end of a video that is yet to be drawn."""
        if not self._sequence.is_video:
            yield from self._photos(on_error)
            return
        source, index = self._sequence.source, 0
        try:
            for index, seconds, photo in video.read_frames(source, self._options.every):
                yield Item(source, photo, index, seconds)
            self._tell_lost_frames(index + self._options.every)
        except video.VideoError as error:
            if not self._offline:
                raise
            self._error = error

    def _tell_lost_frames(self, end: int) -> None:
        """Notes if a video has fewer frames than it states; `end` is not before their number."""
        properties = video.read_properties(self._sequence.source)
        stated = round(properties.seconds * properties.stated_rate)
        note = f"{self._sequence.source} states {stated:,} frames, but {stated - end:,} or more could not be read"
        if end < stated and note not in self.notes:
            self.notes.append(note)

    def _photos(self, on_error: OnError) -> Iterator[Item]:
        for frame in self._sequence.photos(self._track.frame_rate, self._options.every):
            try:
                photo, notes = photos.read_photo(frame.source, self._predictor.max_pixels)
            except photos.PhotoError as error:
                on_error(frame.source, error)
            else:
                yield dataclasses.replace(frame, photo=photo, notes=tuple(notes))

    def _recorded(self, frames: Iterator[Item], count: int) -> Iterator[Result]:
        """Yields the results of frames from their lines."""
        for line in itertools.islice(shards.read_file(self._partial) if count else (), count):
            place = line["source"], line["frame"]
            frame = next((frame for frame in frames if (frame.source, frame.frame) == place), None)
            if frame is None or frame.photo is None:
                raise video.VideoError(
                    f"{line['source']} has no frame {line['frame']} any more: give another --out"
                )
            self._follower.pass_by(frame)
            yield Result(poses.from_json(line, self._predictor.skeleton), frame.photo, None, None)

    def _drawn(self, results: Iterable[Result], live: bool) -> Iterator[Result]:
        """Yields results with trails, and writes the video, unless that is done later."""
        results = _with_trails(results) if live else results
        results = clips.with_progress(results, self._sequence.source, self._count())
        if not live or VIDEO not in self._options.write:
            return iter(results)
        sound = self._sequence.source if self._sequence.is_video else None
        writer = clips.open_writer(clips.target(self._options, self._sequence.name), self._rate, sound)
        return clips.written(results, writer, self._options.joint_score, self.notes)

    def _count(self) -> int | None:
        """Returns the number of frames, None if it is not known."""
        if not self._sequence.is_video:
            return len(self._sequence.paths[:: self._options.every])
        return round(video.read_properties(self._sequence.source).seconds * self._rate) or None


def _with_trails(results: Iterable[Result]) -> Iterator[Result]:
    trails = Trails()
    for result in results:
        yield dataclasses.replace(result, trails=trails.add(result.poses))


def kinds(sequence: Sequence, track: TrackOptions) -> tuple[list[str], list[str]]:
    """Returns the kinds of files, see `writers.WRITERS`, that are written with each frame, and after the last."""
    shown = ["openpose"] if sequence.is_video else ["openpose", "pictures"]
    with_frame = ["crops", "heatmaps"]
    return (with_frame, shown) if track.smoother == SAVITZKY_GOLAY else ([*with_frame, *shown], [])
