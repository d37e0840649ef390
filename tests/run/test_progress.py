import numpy as np
import pytest

from hrnet_jax.run import progress

NAMES = ("loss", "pck")
HINT = ", or keep the photos decoded (--decoded)"


def reported(loss, finite=1.0):
    return {"loss": np.float32(loss), "pck": np.float32(0.5), "finite": np.float32(finite)}


ROWS = np.arange(4)


def test_the_log_tells_the_mean_since_its_last_line():
    window = progress.Window(0, names=NAMES)
    for loss in (1.0, 2.0, 6.0):
        window.add(reported(loss), ROWS)
    assert window.read() == {"loss": 3.0, "pck": 0.5}
    window.add(reported(5.0), ROWS)
    assert window.read()["loss"] == 5.0


def test_a_window_that_a_stop_divides_gives_the_same_mean():
    losses = np.random.default_rng(0).standard_normal(7).astype(np.float32)
    whole, before = progress.Window(0, names=NAMES), progress.Window(0, names=NAMES)
    for loss in losses:
        whole.add(reported(loss), ROWS)
    for loss in losses[:3]:
        before.add(reported(loss), ROWS)
    after = progress.Window(3, before.unlogged(), names=NAMES)
    for loss in losses[3:]:
        after.add(reported(loss), ROWS)
    assert after.read() == whole.read()


def test_a_step_that_is_not_finite_is_told_with_its_people_one_step_late():
    window = progress.Window(10, names=NAMES)
    window.add(reported(np.nan, 0.0), ROWS)
    with pytest.raises(progress.NonFiniteStep) as caught:
        window.add(reported(1.0), ROWS + 4)
    assert caught.value.step == 10 and np.isnan(caught.value.loss) and caught.value.rows.tolist() == [0, 1, 2, 3]


def test_nothing_is_saved_after_a_step_that_is_not_finite():
    window = progress.Window(0, names=NAMES)
    window.add(reported(1.0, 0.0), ROWS)
    with pytest.raises(progress.NonFiniteStep):
        window.unlogged()


def test_steps_left_out_are_in_no_mean():
    told = []
    window = progress.Window(0, (), told.append)
    for loss, finite in ((1.0, 1.0), (np.nan, 0.0), (3.0, 1.0)):
        window.add(reported(loss, finite), ROWS)
    assert window.read()["loss"] == 2.0 and [error.step for error in told] == [1]
    window.add(reported(np.inf, 0.0), ROWS)
    assert np.isnan(window.read()["loss"])


def test_waiting_for_photos_is_complained_of_once_and_with_the_way_out():
    watch = progress.Watch(8)
    assert watch.complaint(0.1, HINT) is None
    complaint = watch.complaint(0.6, HINT)
    assert complaint is not None and complaint.startswith("60% of the time") and "--decoded" in complaint
    assert watch.complaint(0.9, HINT) is None
