"""Run directories and checkpoints of version 0.1.0 load.

``run_0.1.0.tar.xz`` was made by version 0.1.0: ten steps of a tiny HRNet on made-up people, with the checkpoint
after nine of them.
"""

import json
import pathlib
import tarfile

import killing
import numpy as np
import pytest

from hrnet_jax import checkpoint_files, configuration, tasks
from hrnet_jax.datasets import records
from hrnet_jax.run import logger, replay
from hrnet_jax.torch_interop import loading

pytestmark = pytest.mark.long

ARCHIVE = pathlib.Path(__file__).with_name("run_0.1.0.tar.xz")


@pytest.fixture
def old_run(tmp_path) -> pathlib.Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and newer
        archive.extractall(tmp_path)
    return tmp_path / "run_0.1.0"


def test_the_configuration_is_read_with_the_default_task(old_run):
    config = replay.read_config(old_run)
    assert config.task == "top_down" and config.model.width == 4 and config.learning_rate_drops == (9,)
    assert config.keys() == configuration.default().keys()


def test_the_checkpoint_has_the_same_bits(old_run):
    state, network = checkpoint_files.read_state(old_run / "checkpoints" / "last" / "9")
    assert network["name"] == "hrnet" and len(network["joints"]) == 17
    assert checkpoint_files.fingerprints(old_run / "checkpoints" / "last") == {9: "e46041194bb097da"}
    assert int(state["step"]) == 9


def test_its_weights_load_into_the_network(old_run):
    config = replay.read_config(old_run)
    task = tasks.build(config)
    variables, report = loading.initialize(task.init(), loading.read(old_run), task.describe())
    assert not report.initialised and not report.extra
    scale, fresh = (v["params"]["bn1"]["weight"] for v in (variables, task.init()))
    assert np.all(fresh == 1) and np.all(scale != 1)  # nine steps of Adam move every weight


@pytest.mark.usefixtures("optimized")
def test_the_run_resumes_and_logs_the_same_loss(old_run, made_up_records):
    lines = logger.read(old_run)
    (expected,) = [line["loss"] for line in lines if line["step"] == 10 and "loss" in line]
    manifest = json.loads((old_run / "manifest.json").read_text())
    manifest["starts"][0]["data"] = {
        name: records.digest(records.open_split(made_up_records / name)) for name in ("train2017", "val2017")
    }
    (old_run / "manifest.json").write_text(json.dumps(manifest))
    flags = [flag.replace("units=(1,0,0)", "units=(1,1,1)") for flag in killing.TINY]
    flags += ["--config.picture_every=100", f"--config.data.dir={made_up_records}"]
    killing.finish(killing.start(flags, old_run))
    (resumed,) = [line["loss"] for line in logger.read(old_run) if line["step"] == 10 and "loss" in line]
    assert resumed == pytest.approx(expected, rel=1e-4)
    assert {path.name for path in (old_run / "checkpoints" / "last").iterdir()} == {"9", "10"}
