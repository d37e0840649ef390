import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from hrnet_jax import training
from hrnet_jax.run import non_finite, progress


def make(tmp_path, allowed, start=0):
    config = default.get_config()
    config.skip_not_finite = allowed
    examples = types.SimpleNamespace(
        identify=lambda rows: {"annotation_ids": (100 + rows).tolist(), "photo_ids": rows.tolist()}
    )
    run = types.SimpleNamespace(config=config, examples=examples, schedule=lambda step: 0.1 / (step + 1))
    return non_finite.NonFiniteHandler(tmp_path, run, start)  # pyright: ignore[reportArgumentType]


def entries(tmp_path):
    return [json.loads(line) for line in (tmp_path / non_finite.FILE).read_text().splitlines()]


def test_the_run_ends_with_a_record_of_the_step(tmp_path):
    with pytest.raises(ValueError, match=r"\(nan\), .* of step 9 .*is not finite, at learning rate 0\.01"):
        make(tmp_path, 0)(progress.NonFiniteStep(9, float("nan"), np.array([3, 1])))
    assert entries(tmp_path) == [
        {"step": 9, "loss": "nan", "learning_rate": 0.01, "annotation_ids": [103, 101], "photo_ids": [3, 1]}
    ]


def test_as_many_steps_as_allowed_are_skipped(tmp_path):
    handle = make(tmp_path, 2)
    for step in (4, 7):
        handle(progress.NonFiniteStep(step, float("inf"), np.array([0])))
    with pytest.raises(ValueError, match="step 8"):
        handle(progress.NonFiniteStep(8, float("inf"), np.array([0])))
    assert [entry["step"] for entry in entries(tmp_path)] == [4, 7, 8]


def test_a_line_without_newline_counts_and_is_terminated(tmp_path):
    handle = make(tmp_path, 9)
    handle(progress.NonFiniteStep(4, float("inf"), np.array([0])))
    path = tmp_path / non_finite.FILE
    path.write_text(path.read_text().rstrip())
    make(tmp_path, 9, start=6)(progress.NonFiniteStep(7, float("inf"), np.array([0])))
    assert [entry["step"] for entry in entries(tmp_path)] == [4, 7]


def test_a_line_truncated_by_a_crash_is_deleted(tmp_path):
    with pytest.raises(ValueError):
        make(tmp_path, 0)(progress.NonFiniteStep(4, float("inf"), np.array([0])))
    with (tmp_path / non_finite.FILE).open("a") as file:
        file.write('{"step": 5, "annota')
    with (tmp_path / non_finite.FILE).open("ab") as file:
        file.write(b"\n\xff\xfe")
    make(tmp_path, 0, start=9)
    assert [entry["step"] for entry in entries(tmp_path)] == [4]


def test_a_damaged_line_before_others_is_kept_and_counts(tmp_path):
    handle = make(tmp_path, 9)
    for step in (4, 5, 6):
        handle(progress.NonFiniteStep(step, float("inf"), np.array([0])))
    path = tmp_path / non_finite.FILE
    damaged = path.read_text().replace('{"step": 5', '{"step; 5')
    path.write_text(damaged)
    again = make(tmp_path, 3, start=7)
    assert path.read_text() == damaged
    with pytest.raises(ValueError, match="step 7"):
        again(progress.NonFiniteStep(7, float("inf"), np.array([0])))


def test_a_damaged_line_stays_one_line_after_many_starts(tmp_path):
    handle = make(tmp_path, 9)
    for step in (4, 5, 6):
        handle(progress.NonFiniteStep(step, float("inf"), np.array([0])))
    path = tmp_path / non_finite.FILE
    damaged = path.read_bytes().replace(b", ", "\x0c\x85\r".encode(), 1)
    path.write_bytes(damaged)
    for _ in range(3):
        again = make(tmp_path, 4, start=7)
    assert path.read_bytes() == damaged
    again(progress.NonFiniteStep(7, float("inf"), np.array([0])))
    with pytest.raises(ValueError, match="step 8"):
        again(progress.NonFiniteStep(8, float("inf"), np.array([0])))


@pytest.mark.parametrize("part", ["params", "batch_stats", "opt_state"])
def test_a_non_finite_state_is_refused(part):
    good = {"bn1": {"weight": jnp.ones((3, 3))}}
    state = training.TrainState(jnp.zeros((), int), params=good, batch_stats=good, opt_state=good)
    non_finite.check_finite(state, 8)
    non_finite_state = state.replace(**{part: {"bn1": {"weight": jnp.ones((3, 3)).at[2, 1].set(jnp.inf)}}})
    with pytest.raises(
        ValueError, match=rf"after step 8 is not finite \(1 arrays: \.{part}\['bn1'\]\['weight'\]\), th"
    ):
        non_finite.check_finite(non_finite_state, 8)


def test_resuming_deletes_later_records_and_counts_earlier_ones(tmp_path):
    handle = make(tmp_path, 9)
    for step in (4, 7):
        handle(progress.NonFiniteStep(step, float("inf"), np.array([0])))
    again = make(tmp_path, 1, start=6)
    assert [entry["step"] for entry in entries(tmp_path)] == [4]
    with pytest.raises(ValueError, match="step 7"):
        again(progress.NonFiniteStep(7, float("inf"), np.array([0])))
