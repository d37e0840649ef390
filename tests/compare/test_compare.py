"""The command: exit status, report and messages."""

import json
import os
import pathlib
import sys

import forking
import numpy as np
import pytest

from configs import demo
from hrnet_jax.compare import jax_runner, measured, problem

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = {"image_size": "(64,32)", "model.width": 4, "model.stem": 4, "model.units": "(1,1,1)", "model.blocks": 1}


def run(*flags: str, without_torch: pathlib.Path | None = None, config: str = "demo.py", small: bool = True):
    """Runs the command on a small network. `without_torch` is a directory for a torch that cannot be imported."""
    settings = [f"--config.{name}={value}" for name, value in SMALL.items()] if small else []
    environment = dict(os.environ)
    if without_torch:
        (without_torch / "torch.py").write_text("raise ImportError('No module named torch')\n")
        environment["PYTHONPATH"] = str(without_torch)
    command = [sys.executable, "-m", "hrnet_jax.compare", "--config", f"configs/{config}", *settings, *flags]
    process = forking.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    return process.returncode, process.stdout + process.stderr


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> pathlib.Path:
    """Reference numbers of our own network, so the comparison must succeed."""
    path = tmp_path_factory.mktemp("numbers") / "numbers.npz"
    config = demo.get_config()
    config.image_size = (64, 32)
    config.model.update(width=4, stem=4, units=(1, 1, 1), blocks=1)
    setup = problem.make_setup(config)
    labels = {"targets": setup.batch.targets, "weights": setup.batch.weights}
    measured.save(path, jax_runner.measure(setup, "float64", 2), {}, problem.summarize(setup), labels)
    return path


def test_saved_numbers_replace_torch(numbers, tmp_path):
    flags = ["--steps", "2", "--out", str(tmp_path / "out")]
    status, output = run("--reference", str(numbers), *flags, without_torch=tmp_path)
    assert status == 0, output
    assert "all tolerances held" in output and "layers in evaluation mode" in output
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["held"] and report["reference"] == str(numbers) and report["device"].startswith("cpu")
    (only,) = report["runs"]
    assert only["precision"] == "float64"
    assert [part["name"] for part in only["sections"]] == list(measured.SECTIONS)
    page = (tmp_path / "out/report.html").read_text()
    assert page.startswith("<!doctype html>") and "stage2.0.branches.0.0.conv1" in page


def test_a_difference_fails_and_is_named(numbers, tmp_path):
    with np.load(numbers) as file:
        content = dict(file)
    names = list(content["gradients/names"])
    content["gradients/rows"][names.index("stage3.0.branches.2.0.bn2.weight")] *= 1 + 1e-6
    np.savez(tmp_path / "off.npz", **content)
    status, output = run("--reference", str(tmp_path / "off.npz"), "--steps", "2", "--out", str(tmp_path))
    assert status == 1, output
    assert "NOT all tolerances held" in output
    assert "first above 1.0e-08 is stage3.0.branches.2.0.bn2.weight (BatchNorm)" in output


def test_numbers_of_other_weights_are_refused(numbers, tmp_path):
    flags = ["--reference", str(numbers), "--steps", "2", "--out", str(tmp_path / "out")]
    status, output = run(*flags, "--seed", "1")
    assert status == 2 and "computed with other weights or another batch" in output and "--seed" in output
    status, output = run(*flags, "--config.loss=ohkm")
    assert status == 2 and "`loss` is 'mse' there and 'ohkm' here" in output
    assert not (tmp_path / "out").exists()


def test_more_steps_or_precisions_than_the_reference_has_are_refused(numbers):
    status, output = run("--reference", str(numbers), "--steps", "3")
    assert status == 2 and f"--steps (=3): {numbers} has 2" in output
    status, output = run("--reference", str(numbers), "--steps", "2", "--precision", "bfloat16")
    assert status == 2 and "has no noise floor of PyTorch in bfloat16: give --tolerance" in output


def test_numbers_of_another_network_are_refused(shared, tmp_path):
    for name, config in (("resnet50", "coco.py:hrnet_w32_256x192"), ("hrnet_w32", "coco.py:hrnet_w48_256x192")):
        path = shared / f"conformance/net_{name}_256x192.npz"
        status, output = run("--reference", str(path), "--out", str(tmp_path / "out"), config=config, small=False)
        assert status == 2 and ("is of other weights" in output or "is of another network" in output)
        assert "Traceback" not in output


def test_missing_torch_is_reported_in_one_line(tmp_path):
    status, output = run("--out", str(tmp_path / "out"), without_torch=tmp_path)
    assert status == 2 and "pip install torch, or give --reference FILE" in output and "Traceback" not in output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--precision", "float16"], "--precision (=float16) must be some of float64, highest, default, bfloat16"),
        (["--reference", "nowhere.npz"], "there are no reference numbers 'nowhere.npz'"),
        (["--checkpoint", "nowhere.pth"], "there is no checkpoint 'nowhere.pth'"),
        (["--batch", "data", "--config.data.dir=nowhere"], "nowhere"),
        (["--people", "0"], "--people (=0) must be at least 1"),
        (["--steps", "1"], "--steps (=1) must be 0, for layers only, or at least 2"),
        (["--tolerance", "nan"], "--tolerance (=nan) must be a number from 0 on"),
        (["--save_reference", "nowhere/x.npz"], "its directory does not exist"),
        (["--people", "3", "--config.model.norm_group_size=2"], "is more than `model.norm_group_size` (=2)"),
    ],
)
def test_mistakes_are_reported_in_one_line(tmp_path, flags, message):
    status, output = run("--out", str(tmp_path / "out"), *flags)
    assert status == 2 and message in output and "Traceback" not in output


@pytest.mark.usefixtures("optimized")
def test_with_torch_everything_runs(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    saved = str(tmp_path / "saved.npz")
    flags = ["--precision", "float64,highest", "--steps", "2", "--people", "3"]
    status, output = run(*flags, "--save_reference", saved, "--out", str(tmp_path / "with"))
    assert status == 0, output
    assert "against PyTorch in float64" in output
    report = json.loads((tmp_path / "with/report.json").read_text())
    assert [part["precision"] for part in report["runs"]] == ["float64", "highest"]
    assert report["runs"][1]["sections"][0]["rows"][0]["noise_floor"] > 0
    status, output = run(*flags, "--reference", saved, "--out", str(tmp_path / "without"), without_torch=tmp_path)
    assert status == 0, output
