import json
import pathlib
import subprocess
import sys
import types

import pytest

from configs import default
from hrnet_jax.benchmark import __main__ as benchmark
from hrnet_jax.benchmark import race, report


def test_a_sweep_finds_the_fastest_batch_sizes_and_survives_failures(monkeypatch, tmp_path, capsys):
    """Each side and batch size has its own process. Ours is killed at batch 16."""

    def run(command: list[str]) -> subprocess.CompletedProcess:
        options = dict(item.lstrip("-").split("=", 1) for item in command if item.startswith("--"))
        assert command[3] == "predict" and command.count("predict") == 1 and "step" not in command
        assert (options["sweep"], options["config.eval.decoder"]) == ("", "dark")
        size, side = int(options["batch"]), options["side"]
        result = race.Race(f"at {size}", "people", {side: [100 - size, 0.0]}, side)
        report.write(pathlib.Path(options["out"]), {"predict": {"race": result}})
        return subprocess.CompletedProcess(command, -9 if (size, side) == (16, "ours") else 0)

    monkeypatch.setattr(race.subprocess, "run", run)
    monkeypatch.setattr(
        sys, "argv", ["benchmark", "step", "predict", "--sweep=8,16,8", "--config.eval.decoder=dark"]
    )
    options = types.SimpleNamespace(sweep=["8", "16", "8"], out=tmp_path)
    results, text = benchmark.measure_predict(default.get_config(), options)  # type: ignore[arg-type]
    assert results["best"].rates == {"ours, batch 8": [92, 0], "theirs, batch 8": [92, 0]}
    assert {size: len(races) for size, races in results["batches"].items()} == {8: 2, 16: 1}
    assert "batch 16, ours: not measured" in capsys.readouterr().out and "theirs, batch 8" in text
    report.write(tmp_path, {"predict": results})
    written = json.loads((tmp_path / "report.json").read_text())["predict"]
    assert written["batches"]["16"][0]["rates"] == {"theirs": [84, 0]}
    assert (tmp_path / "predict.svg").is_file()


def test_a_sweep_without_any_result_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(race.subprocess, "run", lambda command: subprocess.CompletedProcess(command, 1))
    with pytest.raises(ValueError, match=r"--sweep \(=8,16\): none of these batch sizes could be measured"):
        race.sweep("step", [8, 16], [], tmp_path)
