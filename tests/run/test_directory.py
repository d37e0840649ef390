import json
import os
import subprocess
import sys

import pytest

from configs import default
from hrnet_jax.run import directory


def claim(workdir, config):
    with directory.hold(workdir):
        directory.claim(workdir, config)


def test_a_run_directory_belongs_to_its_config(tmp_path):
    config, workdir = default.get_config(), tmp_path / "run"
    claim(workdir, config)
    assert json.loads((workdir / "config.json").read_text())["model"]["width"] == 32
    (workdir / "checkpoints/last/1").mkdir(parents=True)
    config.loader.threads = 7
    config.eval.decoder = "dark"
    claim(workdir, config)
    config.learning_rate = 0.5
    with pytest.raises(ValueError, match=r"another config: `learning_rate` is 0\.001 there and 0\.5 here"):
        claim(workdir, config)
    config.learning_rate, config.model.width = 0.001, 48
    with pytest.raises(ValueError, match=r"belongs to another config: `model\.width` is 32 there and 48 here"):
        claim(workdir, config)


def test_length_and_learning_rate_change_by_extension(tmp_path):
    config, meta = default.get_config(), tmp_path / "checkpoints/last/20/meta/metadata"
    with pytest.raises(ValueError, match="--extend: there is no run in"):
        directory.extension(tmp_path, config, 30)
    claim(tmp_path, config)
    meta.parent.mkdir(parents=True)
    meta.write_text("{}")
    assert directory.extension(tmp_path, config, 20) == []
    config.epochs, config.learning_rate, config.loader.threads = 300, 1e-4, 7
    with pytest.raises(ValueError, match=r"`epochs` is 210 there and 300 here; .* here; add --extend to go on"):
        claim(tmp_path, config)
    changes = ["`epochs` is 210 there and 300 here", "`learning_rate` is 0.001 there and 0.0001 here"]
    assert directory.extension(tmp_path, config, 21) == changes
    with pytest.raises(
        ValueError, match=r"done 20 steps, and this config ends after 20: give more --config\.epochs"
    ):
        directory.extension(tmp_path, config, 20)
    with directory.hold(tmp_path):
        directory.claim(tmp_path, config, extend=True)
    claim(tmp_path, config)
    config.batch_size = 64
    for check in (directory.extension, lambda *_: claim(tmp_path, config)):
        with pytest.raises(ValueError, match=r"`batch_size` is 128 there and 64 here; give the config"):
            check(tmp_path, config, 30)


def test_a_run_without_checkpoints_can_be_replaced(tmp_path):
    config = default.get_config()
    claim(tmp_path, config)
    config.model.width = 48
    claim(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["model"]["width"] == 48


def test_a_run_killed_while_writing_its_first_file_can_be_replaced(tmp_path):
    claim(tmp_path, default.get_config())
    (tmp_path / "config.json").rename(tmp_path / "config.new")
    claim(tmp_path, default.get_config())
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "lock"}


def test_a_damaged_config_and_a_file_are_refused(tmp_path):
    (tmp_path / "checkpoints/last/1").mkdir(parents=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        claim(tmp_path, default.get_config())
    with pytest.raises(ValueError, match=r"is a file: give a directory"):
        claim(tmp_path / "config.json", default.get_config())


def test_a_directory_that_is_not_a_run_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match=r"not empty and has no config\.json"):
        claim(tmp_path, default.get_config())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_directory_that_cannot_be_created_is_reported():
    with pytest.raises(ValueError, match=r"--workdir \(=/proc/run\) cannot be written to"):
        claim("/proc/run", default.get_config())


def test_a_second_run_is_refused_with_the_process_of_the_first(tmp_path):
    refused = pytest.raises(ValueError, match=rf"another run \(process {os.getpid()} on .*\) is writing to")
    with directory.hold(tmp_path), refused:
        claim(tmp_path, default.get_config())
    claim(tmp_path, default.get_config())


def test_a_killed_run_releases_the_directory(tmp_path):
    script = (
        "import os, signal; from configs import default; from hrnet_jax.run import directory\n"
        f"held = directory.hold({os.fspath(tmp_path)!r})\n"
        f"directory.claim({os.fspath(tmp_path)!r}, default.get_config())\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9 and (tmp_path / "config.json").is_file()
    claim(tmp_path, default.get_config())
