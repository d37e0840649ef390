"""What a run does with the poses: the options of the command line besides those of the predictor."""

import dataclasses
import pathlib
from collections.abc import Sequence

from hrnet_jax.predict import reports, track_reports, writers
from hrnet_jax.predict.poses import JOINT_SCORE
from hrnet_jax.predict.track_options import TrackOptions

VIDEO = "video"
OUTPUTS = (*reports.WRITERS, *writers.WRITERS, VIDEO, *track_reports.WRITERS)
"""All kinds of output."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to do with the poses.

    Attributes:
      out: folder of the results.
      write: some of `OUTPUTS`. Videos have a picture only as `VIDEO`, photos only as pictures.
      joint_score: joints below are drawn as uncertain.
      every: of the frames of a video that are predicted.
      detect_every: of these frames, in which people are detected; between, boxes are around the last poses.
      resume: continue a run.
      process: index of this process among those that share the photos and videos.
      processes: their number.
      images: a COCO annotation file with the ids of photos.
      track: how people are followed through videos and folders of frames; None to predict each frame for itself.
    """

    out: pathlib.Path
    write: Sequence[str]
    joint_score: float = JOINT_SCORE
    every: int = 1
    detect_every: int = 1
    resume: bool = False
    process: int = 0
    processes: int = 1
    images: str | None = None
    track: TrackOptions | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        if unknown := sorted(set(self.write) - set(OUTPUTS)):
            raise ValueError(f"--write (={','.join(self.write)}): {unknown[0]!r} is none of {', '.join(OUTPUTS)}")
        if of_tracks := sorted(set(self.write) & set(track_reports.WRITERS)) if not self.track else ():
            raise ValueError(f"--write (={','.join(self.write)}): {of_tracks[0]!r} needs --track")
        for name in ("every", "detect_every", "processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} (={getattr(self, name)}) must be at least 1")
        if not 0 <= self.process < self.processes:
            raise ValueError(
                f"--process (={self.process}) must be from 0 to {self.processes - 1}, see --processes"
            )
        if not 0 <= self.joint_score <= 1:
            raise ValueError(f"--joint_score (={self.joint_score}) must be from 0 to 1")
