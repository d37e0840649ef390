import json
import os

import pytest

from configs import default
from hrnet_jax.run import directory, manifest, replay


def write(workdir, lines, states=None):
    workdir.mkdir()
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step, fingerprint in (states or {}).items():
        folder = workdir / "checkpoints" / "last" / str(step) / "meta"
        folder.mkdir(parents=True)
        (folder / "metadata").write_text(json.dumps({"network": {}, "fingerprint": fingerprint}))
    return workdir


LINES = [{"step": 2, "time": 1.0, "loss": 0.5}, {"step": 4, "time": 2.0, "loss": 0.25, "val/AP": float("nan")}]


def test_a_configuration_is_read_as_written(tmp_path):
    config = default.get_config()
    directory.claim(tmp_path, config)
    assert replay.read_config(tmp_path) == config
    with pytest.raises(ValueError, match=r"gone/config\.json cannot be read"):
        replay.read_config(tmp_path / "gone")


def test_fields_newer_than_the_run_have_their_defaults(tmp_path):
    config = default.get_config()
    config.loader.threads, config.batch_size = 2, 64
    content = json.loads(config.to_json())
    del content["skip_not_finite"], content["fsdp"], content["loader"]["workers"], content["augment"]
    del content["model"]["remat"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert replay.read_config(tmp_path) == config


@pytest.mark.parametrize("drops", [(), (1.5,), (170, 200.0, 205)])
def test_values_accepted_by_training_are_accepted_by_a_replay(tmp_path, drops):
    content = default.get_config().to_dict() | {"init_from": None, "learning_rate_drops": drops}
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = replay.read_config(tmp_path)
    assert config.init_from is None and config.learning_rate_drops == drops


def test_equal_runs_may_differ_in_timing(tmp_path):
    a = write(tmp_path / "a", LINES, {4: "0a"})
    b = write(
        tmp_path / "b", [line | {"time": 9.0, "images_per_second": 3.0} for line in LINES], {2: "1b", 4: "0a"}
    )
    assert replay.compare(a, b) == []
    assert replay.count(a, b) == "3 logged metrics and the state after step 4"


def test_the_first_difference_is_reported(tmp_path):
    a = write(tmp_path / "a", LINES, {4: "0a"})
    b = write(tmp_path / "b", [LINES[0], LINES[1] | {"loss": 0.25000001}], {4: "0b"})
    assert replay.compare(a, b) == [
        "1 of 3 logged metrics, first at step 4: loss was 0.25 and is 0.25000001",
        "the state after step 4: its fingerprint was 0a and is 0b",
    ]


def test_a_log_may_deviate_by_a_tolerance(tmp_path):
    a = write(tmp_path / "a", LINES, {4: "0a"})
    b = write(tmp_path / "b", [LINES[0], LINES[1] | {"loss": 0.25 * (1 + 1e-8)}], {4: "0b"})
    assert replay.compare_logs(a, b, 1e-7) == []
    assert len(replay.compare_logs(a, b, 1e-9)) == len(replay.compare_logs(a, b)) == 1
    (b / "metrics.jsonl").write_text('{"step": 2, "loss": "0.5"}\n{"step": 4, "loss": NaN, "val/AP": NaN}\n')
    (text,) = replay.compare_logs(a, b, 1e-7)
    assert text == "2 of 3 logged metrics, first at step 2: loss was 0.5 and is '0.5'"


def test_the_newest_checkpoint_of_the_same_step_is_found(tmp_path):
    a = write(tmp_path / "a", LINES, {2: "0a", 4: "0b", 6: "0c"})
    b = write(tmp_path / "b", LINES, {2: "0a", 4: "0b", 8: "0c"})
    (b / "checkpoints/best").mkdir()
    (b / "checkpoints/last/4").rename(b / "checkpoints/best/4")
    assert replay.newest_common_checkpoint(a, b) == (a / "checkpoints/last/4", b / "checkpoints/best/4")
    assert replay.newest_common_checkpoint(a, write(tmp_path / "c", LINES, {3: "0a"})) is None


def test_malformed_configurations_are_refused(tmp_path):
    rest = '"data": {}, "epochs": 1, "eval": 3}'
    odd = [f'{{"model": {model}, {rest}' for model in ('{"name": "hrnet"}', '{"name": 1}', "3")]
    for content in ("{}", "[]", "3", "[" * 200_000, *odd):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config\.json cannot be read .*: give the directory of a run"):
            replay.read_config(tmp_path)
    good = default.get_config().to_dict()
    for change, problem in (
        ({"epochs": "a"}, "'epochs'"),
        ({"log_every": None}, "`log_every` is null"),
        ({"image_size": ["a", "b"]}, "`image_size` is \\('a', 'b'\\), not of the type"),
        ({"image_size": [256.0, 192]}, "`image_size` is \\(256.0, 192\\), not of the type"),
        ({"learning_rate_drops": [None]}, "`learning_rate_drops` is"),
        ({"data": {"dir": 3}}, "'dir'"),
        ({"augment": {"newer": 1}}, "newer"),
        ({"newer": 1}, "newer"),
        ({"task": "os:system"}, "the task 'os:system' is not one of top_down"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(good | change))
        with pytest.raises(
            ValueError, match=rf"config\.json cannot be read .*{problem}.*: give the directory of a run"
        ):
            replay.read_config(tmp_path)
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"config\.json cannot be read .*no regular file"):
        replay.read_config(tmp_path)


def test_a_comparable_run_has_a_log_and_its_last_state(tmp_path):
    run = write(tmp_path / "a", LINES, {2: "0a", 4: "0b"})
    replay.check(run, 4)
    with pytest.raises(
        ValueError, match=r"no log, or no checkpoint of its last step, 6 with these data, to compare"
    ):
        replay.check(run, 6)
    with pytest.raises(ValueError, match="no log"):
        replay.check(write(tmp_path / "b", [], {4: "0b"}), 4)
    (run / "manifest.json").write_text('{"starts": [{"config": null}]}')
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        replay.check(run, 4)


def test_a_replay_by_several_programs_is_reported():
    one = {"step": 0, "time": "now", "code": {"sources": "0a", "commit": "1"}, "state": "1", "environment": {}}
    elsewhere = {"step": 4, "code": {"sources": "0a", "commit": "2"}, "environment": {"CUDA_VISIBLE_DEVICES": "3"}}
    assert replay.begun_by_several([one, one | elsewhere]) == []
    assert replay.begun_by_several([one, one | {"environment": {"TF_CPP_VMODULE": "cpu_compiler=1"}}]) == []
    (text,) = replay.begun_by_several([one, one, one | {"code": {"sources": "0b", "commit": "1"}}])
    assert text == "the replay was resumed with another program: code.sources was 0a and is 0b"
    for change in (
        {"environment": {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}},
        {"environment": {"JAX_DEFAULT_MATMUL_PRECISION": "bfloat16"}},
        {"environment": {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}},
        {"environment": {"TF_CUDNN_DETERMINISTIC": "1"}},
        {"environment": {"TF_FORCE_GPU_ALLOW_GROWTH": "1"}},
        {"environment": {"JAX_EXEC_TIME_OPTIMIZATION_EFFORT": "-1.0"}},
        {"processor": "x86_64-0"},
        {"config": {"model": {"remat": True}}},
        {"config": {"fsdp": True}},
    ):
        assert len(replay.begun_by_several([one, one | elsewhere | change])) == 1


def write_starts(workdir, *starts):
    entries = [{"step": step, "config": config} for step, config in starts]
    (workdir / "manifest.json").write_text(json.dumps({"starts": entries}))


@pytest.mark.parametrize(
    ("starts", "step"),
    [
        ([], 0),
        ([(0, 2), (4, 2)], 0),
        ([(0, 2), (0, 1)], 0),
        ([(0, 2), (3, 1)], 4),
        ([(0, 2), (3, 1), (3, 2)], 0),
        ([(0, 2), (3, 1), (7, 2), (9, 2)], 9),
    ],
)
def test_means_are_compared_after_the_last_change_of_log_every(tmp_path, starts, step):
    write_starts(tmp_path, *((begun, {"log_every": every}) for begun, every in starts))
    assert replay.comparable_after(tmp_path) == (step, 0)
    assert len(replay.left_out(tmp_path)) == (step > 0)


@pytest.mark.parametrize("change", [{"eval_every": 2}, {"eval": {"flip_test": False}}])
def test_evaluations_are_compared_after_the_last_change_of_their_settings(tmp_path, change):
    lines = [{"step": step, "loss": 0.5, "val/AP": 1.0} for step in (2, 4)]
    a = write(tmp_path / "a", lines, {4: "0a"})
    b = write(tmp_path / "b", [{"step": 2, "loss": 0.5}, lines[1]], {4: "0a"})
    first = {"log_every": 2, "eval_every": 1, "eval": {"flip_test": True}}
    write_starts(a, (0, first), (3, first | change))
    assert replay.comparable_after(a) == (0, 3) and replay.compare(a, b) == []
    (text,) = replay.left_out(a)
    assert text == "evaluation settings changed during the run: evaluations up to step 3 are not compared"
    write_starts(a, (0, first), (2, first | change), (2, first))  # the second was killed after its evaluation
    assert replay.comparable_after(a) == (0, 2)
    write_starts(a, (0, first), (3, first))
    assert replay.compare(a, b) == ["1 metrics were not logged again, first val/AP of step 2"]


@pytest.mark.parametrize("every", [None, 2.5, "2"])
def test_a_manifest_with_a_damaged_log_every_is_readable_but_not_comparable(tmp_path, every):
    write_starts(tmp_path, (0, {"log_every": every}), (3, {"log_every": every}))
    assert replay.comparable_after(tmp_path) == (0, 0)
    write_starts(tmp_path, (0, {"log_every": 2}), (3, {"log_every": every}))
    assert len(manifest.read(tmp_path)) == 2
    with pytest.raises(
        ValueError, match=r"manifest\.json \(if .* delete it; .*\): the last start: `log_every` .* an integer"
    ):
        replay.check(tmp_path, 4)


def test_a_run_without_comparable_means_is_compared_by_its_state(tmp_path):
    a, b = (write(tmp_path / name, [{"step": 4, "loss": 0.5}], {4: "0a"}) for name in "ab")
    write_starts(a, (0, {"log_every": 4}), (4, {"log_every": 1}))
    assert replay.compare(a, b) == []
    assert replay.count(a, b) == "0 logged metrics and the state after step 4"


def test_means_over_other_steps_are_not_compared(tmp_path):
    later = [*LINES, {"step": 5, "loss": 0.1}]
    a, b = write(tmp_path / "a", later, {4: "0a"}), write(tmp_path / "b", later[1:], {4: "0a"})
    assert replay.compare(a, b) == ["1 metrics were not logged again, first loss of step 2"]
    write_starts(a, (0, {"log_every": 2}), (3, {"log_every": 1}))
    assert replay.compare(a, b) == []
    assert replay.count(a, b) == "2 logged metrics and the state after step 4"
    changed = [LINES[1] | {"loss": 9.0, "val/AP": 0.5}, {"step": 5, "loss": 0.2}]
    (b / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    assert replay.compare(a, b) == ["2 of 2 logged metrics, first at step 4: val/AP was nan and is 0.5"]


def test_states_that_cannot_be_compared_are_not_the_same(tmp_path):
    a, b = write(tmp_path / "a", LINES, {2: "0a"}), write(tmp_path / "b", LINES, {4: "0b"})
    (text,) = replay.compare(a, b)
    assert text.startswith("the runs kept no state of the same step")


def test_metrics_missing_from_the_replay_are_reported(tmp_path):
    a = write(tmp_path / "a", LINES, {4: "0a"})
    b = write(tmp_path / "b", [LINES[0], {"step": 4, "loss": 0.25}], {4: "0a"})
    assert replay.compare(a, b) == ["1 metrics were not logged again, first val/AP of step 4"]
    assert replay.compare(b, a) == []


def test_runs_without_common_metrics_are_not_the_same(tmp_path):
    found = replay.compare(write(tmp_path / "a", LINES, {4: "0a"}), write(tmp_path / "b", [], {4: "0a"}))
    assert found == ["3 metrics were not logged again, first loss of step 2"]
