import numpy as np

from hrnet_jax.benchmark import tracking
from hrnet_jax.track.sequences import SIGMAS
from hrnet_jax.tracking import memory, tracker
from hrnet_jax.tracking.settings import PRESETS


def test_twenty_people_are_followed_through_the_measured_video():
    for name in ("paper", "ours"):
        state, still = memory.start(len(SIGMAS)), np.zeros((*tracking.SIZE, 2), np.float32)
        for number in range(3):
            frame, poses = tracking._frame(number, still)
            state, tracks = tracker.step(state, frame, tracking._known(poses), PRESETS[name], SIGMAS)
            assert len(tracks.ids) > 0.9 * tracking.PEOPLE
        assert state.next_id < 1.2 * tracking.PEOPLE


def test_all_stages_run_and_are_printed(tiny_config):
    tiny_config = tiny_config.copy_and_resolve_references()
    measured = tracking.measure(tiny_config, rounds=1)
    for part in ("shared", "paper", "ours"):
        assert all(value >= 0 for value in measured[part].values())
    printed = tracking.table(measured)
    assert all(stage in printed for part in ("shared", "paper") for stage in measured[part])
