import json
import pathlib
import subprocess
import sys

from hrnet_jax import prepare

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrnet_jax.benchmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_a_part_is_measured_printed_and_written(shared, tmp_path):
    prepare.prepare_coco(shared / "real" / "coco_four", tmp_path / "data", decode=True)
    fields = {"data.dir": tmp_path / "data", "data.train_split": "val2017", "image_size": "(64,48)"}
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    done = run("input", "--rounds=2", f"--out={tmp_path / 'out'}", *overrides)
    assert done.returncode == 0, done.stderr
    assert "ours, decoded photos" in done.stdout and "0 of 792,576 pixels differ" in done.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {"processor", "cores", "device", "jax", "python"} <= set(report["machine"])
    rates = report["input"]["race"]["rates"]
    assert all(len(values) == 2 for values in rates.values())
    assert report["input"]["race"]["ratios"]["the original's way"] == 1
    assert set(report) == {"machine", "command", "input"}
    for name in ("input", "input_stages"):
        assert (tmp_path / "out" / f"{name}.svg").read_text().rstrip().endswith("</svg>")


def test_mistakes_are_one_line(tmp_path):
    for arguments, message in {
        ("inputs",): "there is no part 'inputs': choose some of input, step",
        ("input", "--rounds=0"): "--rounds (=0) must be at least 1",
        ("memory", "--batches=1"): "--batches (=1) must be at least 2",
        ("input", f"--config.data.dir={tmp_path}"): f"{tmp_path}/train2017 does not exist: prepare the data with",
    }.items():
        done = run(*arguments, f"--out={tmp_path}")
        assert done.returncode == 2
        assert message in done.stderr and "Traceback" not in done.stderr
