"""The options of `hrnet predict --track`."""

import dataclasses
import math
import pathlib

from hrnet_jax.tracking.settings import NONE, PRESETS, Settings

FRAME_RATE = 30.0  # of folders of frames, which do not state theirs
ONE_EURO, SAVITZKY_GOLAY = "one_euro", "savitzky_golay"
SMOOTHERS = (NONE, ONE_EURO, SAVITZKY_GOLAY)


@dataclasses.dataclass(frozen=True)
class TrackOptions:
    """How people are followed.

    Attributes:
      settings: of the tracker.
      offline: whether what is shown may depend on later frames.
      smooth: how joints are smoothed over time for display and export: "none", "one_euro", or "savitzky_golay",
        which looks ahead. "" is the last one if `offline`, else none.
      frame_rate: frames per second of folders of frames.
      truth: file or folder of PoseTrack's annotations, with which the pages of tracks compare.
    """

    settings: Settings = PRESETS["ours"]
    offline: bool = False
    smooth: str = ""
    frame_rate: float = FRAME_RATE
    truth: pathlib.Path | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        if self.smooth and self.smooth not in SMOOTHERS:
            raise ValueError(f"--smooth (={self.smooth}) must be one of {', '.join(SMOOTHERS)}")
        if self.smooth == SAVITZKY_GOLAY and not self.offline:
            raise ValueError(f"--smooth (={self.smooth}) looks ahead: add --offline, or take {ONE_EURO}")
        if not (math.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise ValueError(
                f"--frame_rate (={self.frame_rate:g}) must be above 0: the frames per second of a folder of frames"
            )

    @property
    def smoother(self) -> str:
        """The kind of smoothing, one of `SMOOTHERS`."""
        return self.smooth or (SAVITZKY_GOLAY if self.offline else NONE)

    def for_detections(self, detect_every: int) -> Settings:
        """Returns the settings if people are detected in every so many frames.

        People then live as long without a detection, and a frame longer. Raises ValueError for settings that never
        propose boxes.
        """
        if detect_every > 1 and self.settings.propagation == NONE:
            raise ValueError(
                f"--detect_every (={detect_every}) needs a tracker that moves boxes on, but its `propagation` is"
                f" {NONE!r}: choose --tracker=ours or paper, or detect in every frame"
            )
        if detect_every == 1:
            return self.settings
        frames = max(self.settings.propagation_frames, detect_every)
        remembered = max(self.settings.memory_frames, frames)
        return dataclasses.replace(self.settings, propagation_frames=frames, memory_frames=remembered)
