"""The programs as a user runs them, on a handful of made-up people: train, stop, go on, evaluate."""

import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import forking
import jax
import killing
import numpy as np
import pytest

from hrnet_jax import checkpoint_files, convert, models, sharding, tasks
from hrnet_jax.run import logger, manifest, replay

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = {
    "image_size": "(64,32)",
    "model.width": 4,
    "model.stem": 4,
    "model.units": "(1,0,0)",
    "model.blocks": 1,
    "batch_size": 4,
    "eval.batch_size": 4,
    "epochs": 2,
    "log_every": 1,
    "eval_every": 1,
    "checkpoint_every": 3,
    "picture_every": 4,
    "warmup_steps": 100,
}
ONCE = ("gradients", "update_state", "predict_step", "look")
"""The programs of a run."""


@pytest.fixture(scope="module")
def data(made_up_records) -> pathlib.Path:
    return made_up_records


def command(program: str, data: pathlib.Path, *flags: str, **changes) -> list[str]:
    fields = {**TINY, "data.dir": data, **changes}
    settings = [f"--config.{name}={value}" for name, value in fields.items()]
    return [sys.executable, program, "--config", "configs/demo.py", *flags, *settings]


def start(arguments: list[str], devices: int = 1, **variables: str) -> forking.Process:
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"} | variables
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return forking.start(arguments, cwd=ROOT, env=environment, text=True, **pipes)


def finish(process: forking.Process, status: int = 0) -> str:
    output, errors = process.communicate(timeout=600)
    assert process.returncode == status, errors[-3000:]
    return output + errors


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> tuple[pathlib.Path, str]:
    """A run that nothing stopped, and what it said, JAX about its compilations included."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, finish(
        start(command("train.py", data, f"--workdir={workdir}"), JAX_LOG_COMPILES="1", JAX_LOGGING_LEVEL="WARNING")
    )


def test_nothing_is_compiled_twice(trained):
    """Over two epochs, two evaluations with a short last batch, and pictures."""
    said = set(re.findall(r"Finished XLA compilation of jit\((\w+)\) in ([\d.]+) sec", trained[1]))  # said twice
    compiled = collections.Counter(name for name, _ in said)
    assert {name: compiled[name] for name in ONCE} == dict.fromkeys(ONCE, 1)


def logged(workdir: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_training_says_what_it_does_and_leaves_everything(trained):
    workdir, output = trained
    for said in (
        "1 x cpu",
        "parameters",
        "multiply-adds",
        "4 examples a step",
        "2 epochs",
        "waiting for data",
        "AP",
    ):
        assert said in output
    assert (workdir / "config.json").is_file() and list(workdir.glob("events.*"))
    assert len(list((workdir / "pictures").glob("*.png"))) >= 2
    steps = [line["step"] for line in logged(workdir) if "loss" in line]
    assert steps == list(range(1, steps[-1] + 1)) and len(steps) >= 6
    assert {"loss", "pck", "learning_rate", "images_per_second", "data_wait"} <= set(logged(workdir)[0])
    assert [line for line in logged(workdir) if "val2017/gt_boxes/AP" in line]
    assert checkpoint_files.find(workdir / "checkpoints" / "last").name == str(steps[-1])


def test_the_logged_rate_is_that_of_the_step(trained):
    rates = {line["step"]: line["learning_rate"] for line in logged(trained[0]) if "learning_rate" in line}
    assert rates == pytest.approx({step: 2e-3 * step / TINY["warmup_steps"] for step in rates}, rel=1e-5)


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(trained, data, tmp_path):
    """By the machine's notice and by Ctrl-C; it goes on with another number of threads."""
    whole, _ = trained
    workdir = tmp_path / "stopped"
    for number, threads in ((signal.SIGTERM, 1), (signal.SIGINT, 3)):
        process = start(command("train.py", data, f"--workdir={workdir}", **{"loader.threads": threads}))
        before = len(logger.read(workdir))
        killing.wait_for(lambda before=before: len(logger.read(workdir)) >= before + 2, process)
        process.send_signal(number)
        assert "the same command resumes from there" in finish(process, status=75)
    assert logged(workdir)[-1]["step"] < logged(whole)[-1]["step"]
    assert "fingerprint of the state" in finish(start(command("train.py", data, f"--workdir={workdir}")))
    assert killing.differences(whole, workdir) == []


def test_a_run_can_be_done_again_and_says_what_differs(trained, data, tmp_path):
    whole, _ = trained
    again = ("train.py", f"--replay={whole}")
    output = finish(start([sys.executable, *again, f"--workdir={tmp_path / 'same'}"]))
    assert "the same, bit for bit" in output and "DIFFERENT" not in output

    another = tmp_path / "another"
    shutil.copytree(whole, another)
    (another / "metrics.jsonl").write_text(
        (whole / "metrics.jsonl").read_text().replace('"loss": 0.', '"loss": 1.', 1)
    )
    output = finish(start([sys.executable, "train.py", f"--replay={another}"], devices=2), status=3)
    assert re.search(r"DIFFERENT: [\d,]+ of [\d,]+ logged metrics, first at step 1: loss was 1\.", output)
    assert "DIFFERENT: the state after step" in output and "NOT the same" in output
    assert "note: devices.count was 1 and is 2" in output


def test_a_run_is_not_repeated_in_its_own_directory(trained):
    whole, _ = trained
    before = (whole / "manifest.json").read_bytes()
    again = [sys.executable, "train.py", f"--replay={whole}", f"--workdir={whole}"]
    assert "is the run to repeat: give another one" in finish(start(again), status=2)
    assert (whole / "manifest.json").read_bytes() == before


def test_two_runs_do_not_share_a_directory(data, tmp_path):
    arguments = command("train.py", data, f"--workdir={tmp_path}", epochs=50)
    first = start(arguments)
    killing.wait_for((tmp_path / "manifest.json").exists, first)
    output = finish(start(arguments), status=2)
    assert f"another run (process {first.pid} on" in output and "Traceback" not in output
    first.kill()
    first.communicate()


def test_evaluation_is_the_same_for_any_batch_and_devices(trained, data, tmp_path):
    workdir, _ = trained
    figures = []
    for devices, batch, flags in ((1, 4, []), (4, 8, [f"--against={tmp_path / '1'}"])):
        out = tmp_path / str(devices)
        flags = [*flags, f"--workdir={workdir}", f"--out={out}"]
        arguments = command("eval.py", data, *flags, **{"eval.batch_size": batch})
        output = finish(start(arguments, devices))
        assert "AP50" in output and str(out / "metrics.json") in output
        figures.append(json.loads((out / "metrics.json").read_text()))
        for name in (
            "results_val2017_gt_boxes.json",
            "results_val2017_detector_boxes.json",
            "per_joint_val2017.json",
        ):
            assert json.loads((out / name).read_text())
        assert len(list((out / "pictures").iterdir())) == 2
        text = (out / "report.html").read_text()
        assert ("+0.000" in text) and ("Other run" in text) == bool(devices == 4)
    assert figures[0] == figures[1]
    assert "val2017/gt_boxes/analysis/errors/miss/gain" in figures[0]
    assert {"val2017/gt_boxes/AP", "val2017/detector_boxes/AP"} <= set(figures[0])


def test_evaluation_predicts_with_the_weights_of_the_best_checkpoint(trained, data, tmp_path):
    workdir, _ = trained
    finish(start(command("eval.py", data, f"--workdir={workdir}", f"--out={tmp_path}")))
    found = json.loads((tmp_path / "results_val2017_gt_boxes.json").read_text())
    variables, _, _ = checkpoint_files.read_weights(workdir / "checkpoints" / "best")
    evaluation = tasks.build(replay.read_config(workdir)).evaluation(trained=True)
    mesh = sharding.make_mesh(jax.devices()[:1])
    predicted = evaluation.predict(
        sharding.place_state(variables, mesh), lambda batch: sharding.place_batch(batch, mesh), progress=False
    )
    keypoints, expected = (
        [result["keypoints"] for result in results] for results in (found, predicted[0].results)
    )
    assert len(np.unique(expected)) > 50
    np.testing.assert_allclose(keypoints, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": "(60,32)"}, "must be multiples of 32: nearest are (64, 32)"),
        ({"batch_size": 0}, "`batch_size` (=0) must be a multiple of 1"),
        ({"data.val_split": "val2018"}, "val2018 does not exist: prepare the data with"),
        ({"init_from": "weights.pth"}, "there is no checkpoint 'weights.pth'"),
        ({"skeleton": "centaur"}, "`skeleton` (='centaur') is neither a file nor one of: coco"),
        ({"image_size": "(64,)"}, "must be two numbers, height and width"),
        ({"log_every": 0}, "`log_every` (=0) must be at least 1"),
        ({"batchsize": 3}, "batchsize"),
        ({"eval.decoder": "best"}, "`eval.decoder` (='best') must be one of argmax, quarter, dark"),
    ],
)
def test_mistakes_are_named_in_one_line(data, tmp_path, changes, said):
    output = finish(start(command("train.py", data, f"--workdir={tmp_path}", **changes)), status=2)
    assert said in output and "Traceback" not in output


def test_a_run_directory_of_another_config_is_refused(trained, data):
    workdir, _ = trained
    output = finish(start(command("train.py", data, f"--workdir={workdir}", **{"model.width": 8})), status=2)
    assert "belongs to another config: `model.width` is 4 there and 8 here" in output
    assert "Traceback" not in output


def test_a_finished_run_is_extended(trained, data, tmp_path):
    """It goes on with Adam's moments, at another learning rate, in brackets as a careless sweep names its runs."""
    workdir = shutil.copytree(trained[0], tmp_path / "lr[1e-5]")
    before = len(logger.read(workdir))
    steps = checkpoint_files.complete_steps(workdir / "checkpoints" / "last")[-1]
    arguments = command("train.py", data, f"--workdir={workdir}", epochs=3, learning_rate=1e-5, warmup_steps=100)
    assert "add --extend to go on with these" in finish(start(arguments), status=2)
    output = finish(start([*arguments, "--extend"]))
    assert f"extended after step {steps}" in output and "`epochs` is 2 there and 3 here" in output
    added = logger.read(workdir)[before:]
    rates = [line["learning_rate"] for line in added if "learning_rate" in line]
    assert len(rates) == steps // 2 and max(rates) <= 1e-5
    state, _ = checkpoint_files.read_state(workdir / "checkpoints" / "last")
    counts = [leaf for leaf in jax.tree.leaves(state["opt_state"]) if leaf.shape == ()]
    assert {int(count) for count in counts} == {int(state["step"])} == {steps * 3 // 2}
    starts = manifest.read(workdir)
    assert len(starts[-1]["extended"]) == 2 and not any("extended" in start for start in starts[:-1])
    assert "done: " in finish(start(arguments))  # the same command, with or without the flag
    assert "cannot be repeated" in finish(start([sys.executable, "train.py", f"--replay={workdir}"]), status=2)


def test_evaluating_another_network_is_refused(trained, data, tmp_path):
    workdir, _ = trained
    arguments = (f"--checkpoint={workdir}", f"--out={tmp_path}")
    output = finish(start(command("eval.py", data, *arguments, **{"model.width": 8})), status=2)
    assert "is of another network: `model.width` is 4 there and 8 here" in output and "Traceback" not in output


def test_what_was_trained_here_computes_the_same_in_pytorch(trained, data, tmp_path):
    """Exported, it gives PyTorch's heatmaps to rounding; and the file says how it reads colours."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from hrnet_jax.models import torch_models

    exported = tmp_path / "trained.pth"
    convert.convert(trained[0], exported)
    variables, described, _ = checkpoint_files.read_weights(trained[0])
    fields = {name: described[name] for name in ("width", "stem", "units", "blocks")}
    network = torch_models.HRNet(len(described["joints"]), **fields).eval()
    network.load_state_dict(torch.load(exported, weights_only=True), strict=True)
    images = np.random.default_rng(0).standard_normal((2, 64, 32, 3))
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        with jax.enable_x64(dtype == np.float64), torch.no_grad():
            options = {"name": described["name"], **fields}
            model = models.create(options, len(described["joints"]), dtype=jax.numpy.dtype(dtype))
            cast = jax.tree.map(lambda x: x.astype(dtype), variables)  # noqa: B023
            ours = np.asarray(jax.jit(model.apply)(cast, images.astype(dtype)))
            given = torch.from_numpy(images.astype(dtype).transpose(0, 3, 1, 2).copy())
            theirs = network.to(given.dtype)(given).numpy().transpose(0, 2, 3, 1)
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()

    for program, arguments, changes in (
        ("eval.py", (f"--checkpoint={exported}", f"--out={tmp_path / 'figures'}"), {}),
        ("train.py", (f"--workdir={tmp_path / 'run'}",), {"init_from": exported}),
    ):
        changes["model.colors"] = "BGR"
        output = finish(start(command(program, data, *arguments, **changes)), status=2)
        assert "`model.colors` is 'RGB' there and 'BGR' here" in output and "Traceback" not in output


def test_evaluating_a_run_as_another_row_is_refused(trained, data):
    workdir, _ = trained
    output = finish(start(command("eval.py", data, f"--workdir={workdir}", image_size="(96,64)")), status=2)
    assert "`image_size` is [64, 32] there and [96, 64] here" in output and "Traceback" not in output


def test_a_start_that_failed_leaves_the_directory_free(trained, data, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    finish(start(command("train.py", data, workdir, **{"augment.flip": 2.0})), status=2)
    finish(start(command("train.py", data, workdir, init_from="gone.pth", seed=1)), status=2)
    output = finish(start(command("train.py", data, workdir, init_from=trained[0], epochs=1)))
    assert (
        "tensors loaded into HRNet-W4 (17 joints, reads RGB)" in output
        and "done: best val2017/gt_boxes/AP" in output
    )
