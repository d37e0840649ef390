"""What the options of tracking refuse."""

import pytest

from hrnet_jax.predict.track_options import TrackOptions
from hrnet_jax.tracking.settings import PRESETS


@pytest.mark.parametrize("rate", [0, -25, float("nan"), float("inf")])
def test_frame_rates_are_above_zero(rate):
    with pytest.raises(
        ValueError, match=r"--frame_rate \(=.*\) must be above 0: the frames per second of a folder"
    ):
        TrackOptions(frame_rate=rate)


def test_a_live_run_does_not_look_ahead():
    with pytest.raises(ValueError, match=r"--smooth \(=savitzky_golay\) looks ahead: add --offline"):
        TrackOptions(smooth="savitzky_golay")
    with pytest.raises(ValueError, match=r"--smooth \(=kalman\) must be one of none, one_euro, savitzky_golay"):
        TrackOptions(smooth="kalman")
    assert TrackOptions().smoother == "none" and TrackOptions(offline=True).smoother == "savitzky_golay"
    assert TrackOptions(offline=True, smooth="one_euro").smoother == "one_euro"


def test_people_outlive_the_frames_between_detections():
    track = TrackOptions(PRESETS["paper"])
    assert track.for_detections(1) == PRESETS["paper"]
    settings = track.for_detections(9)
    assert settings.propagation_frames >= 8 and settings.memory_frames >= settings.propagation_frames
    with pytest.raises(ValueError, match=r"--detect_every \(=2\) needs a tracker that moves boxes on"):
        TrackOptions(PRESETS["off/pose"]).for_detections(2)
