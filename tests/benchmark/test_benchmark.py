import json
import math
import pathlib
import subprocess
import sys
import types

import forking

from configs import default
from hrnet_jax import prepare, training
from hrnet_jax.benchmark import __main__ as benchmark

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hrnet_jax.benchmark", *map(str, arguments)]
    return forking.run(command, capture_output=True, text=True, cwd=ROOT)


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


def test_communication_is_counted_and_step_times_are_predicted(monkeypatch, tmp_path):
    text = """  %gradient = f32[1000000] copy(%x), metadata={op_name="transpose(jvp(f))"}
    %sum = f32[1000000] all-reduce(%gradient), channel_id=1"""
    sizes = dict.fromkeys(("argument", "output", "alias", "temp"), 0)
    analysis = types.SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})

    def program(text: str, operations: float) -> types.SimpleNamespace:
        results = {"as_text": text, "cost_analysis": {"flops": operations}, "memory_analysis": analysis}
        return types.SimpleNamespace(**{name: lambda value=value: value for name, value in results.items()})

    step = training.CompiledStep(program(text, 1.3e12), program("", 0.1e12), kept_bytes=0)  # type: ignore[arg-type]
    lowered = types.SimpleNamespace(compile=lambda: step)
    monkeypatch.setattr(benchmark.setup, "lower_step", lambda *_: lowered)
    options = types.SimpleNamespace(batch=128, share=0.5, loaded=math.inf, out=tmp_path)
    results, printed = benchmark.measure_scale(default.get_config(), options)  # type: ignore[arg-type]
    assert results["people"] == 32
    assert results["communication"] == {
        "gradients": {"all-reduce": {"operations": 1, "arrays": 1, "bytes": 4_000_000}}
    }
    row = results["predicted"]["TPU v5e"][0]
    assert row["chips"] == 8 and math.isclose(row["parts"]["compute"], 1.4e12 / (0.5 * 197e12))
    assert "1 operations      1 arrays      4.000 MB" in printed and "computing reaches 50% of the peak" in printed
    assert (tmp_path / "scale.svg").is_file()


def test_usage_errors_are_one_line(tmp_path):
    for arguments, message in {
        ("inputs",): "there is no part 'inputs': choose some of input, step",
        ("scale",): "set JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=4 to simulate four",
        ("step", "--sweep=8,x"): "--sweep (=8,x) must be batch sizes, such as 32,64,128",
        ("step", "--modes=fast"): "--modes (=fast) must be some of default, reduce-overhead, max-autotune",
        ("input", "--rounds=0"): "--rounds (=0) must be at least 1",
        ("memory", "--batches=1"): "--batches (=1) must be at least 2",
        ("input", f"--config.data.dir={tmp_path}"): f"{tmp_path}/train2017 does not exist: prepare the data with",
    }.items():
        done = run(*arguments, f"--out={tmp_path}")
        assert done.returncode == 2
        assert message in done.stderr and "Traceback" not in done.stderr
