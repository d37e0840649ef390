import numpy as np
import pytest

from hrnet_jax.run import progress

NAMES = ("loss", "pck")
HINT = ", or keep the photos decoded (--decoded)"


def metrics(loss, finite=1.0):
    return {"loss": np.float32(loss), "pck": np.float32(0.5), "finite": np.float32(finite)}


ROWS = np.arange(4)


def test_metrics_are_means_since_the_last_line():
    window = progress.Window(0, names=NAMES)
    for loss in (1.0, 2.0, 6.0):
        window.add(metrics(loss), ROWS)
    assert window.read() == {"loss": 3.0, "pck": 0.5}
    window.add(metrics(5.0), ROWS)
    assert window.read()["loss"] == 5.0


def test_a_window_divided_by_a_stop_gives_the_same_mean():
    losses = np.random.default_rng(0).standard_normal(7).astype(np.float32)
    whole, before = progress.Window(0, names=NAMES), progress.Window(0, names=NAMES)
    for loss in losses:
        whole.add(metrics(loss), ROWS)
    for loss in losses[:3]:
        before.add(metrics(loss), ROWS)
    after = progress.Window(3, before.unlogged(), names=NAMES)
    for loss in losses[3:]:
        after.add(metrics(loss), ROWS)
    assert after.read() == whole.read()


def test_a_non_finite_step_is_raised_one_step_later_with_its_people():
    window = progress.Window(10, names=NAMES)
    window.add(metrics(np.nan, 0.0), ROWS)
    with pytest.raises(progress.NonFiniteStep) as caught:
        window.add(metrics(1.0), ROWS + 4)
    assert caught.value.step == 10 and np.isnan(caught.value.loss) and caught.value.rows.tolist() == [0, 1, 2, 3]


def test_unlogged_metrics_are_refused_after_a_non_finite_step():
    window = progress.Window(0, names=NAMES)
    window.add(metrics(1.0, 0.0), ROWS)
    with pytest.raises(progress.NonFiniteStep):
        window.unlogged()


def test_skipped_steps_are_in_no_mean():
    skipped = []
    window = progress.Window(0, (), skipped.append, NAMES)
    for loss, finite in ((1.0, 1.0), (np.nan, 0.0), (3.0, 1.0)):
        window.add(metrics(loss, finite), ROWS)
    assert window.read()["loss"] == 2.0 and [error.step for error in skipped] == [1]
    window.add(metrics(np.inf, 0.0), ROWS)
    assert np.isnan(window.read()["loss"])


def test_waiting_for_photos_is_reported_once_with_a_remedy():
    watch = progress.Watch(8)
    assert watch.complaint(0.1, HINT) is None
    complaint = watch.complaint(0.6, HINT)
    assert complaint is not None and complaint.startswith("60% of the time") and "--decoded" in complaint
    assert watch.complaint(0.9, HINT) is None
