"""A killed run resumes and ends with the same bits. `killing.py` is the long version."""

import killing


def test_a_run_killed_while_compiling_evaluating_and_saving_ends_with_the_same_bits(tiny, whole_run, tmp_path):
    moments = [(moment, 0.0) for moment in killing.MOMENTS]
    kills = killing.train_with_kills(tiny, tmp_path / "killed", whole_run, moments)
    assert [(kill.moment, kill.reached) for kill in kills] == [(moment, True) for moment, _ in moments]
    assert killing.differences(whole_run, tmp_path / "killed") == []
    steps = [line["step"] for line in killing.lines_of(whole_run) if "loss" in line]
    assert steps == [2, 4, 6, 8, 10]
