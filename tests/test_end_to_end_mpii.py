"""The programs on MPII, on a handful of made-up people: train, evaluate, predictions for the server."""

import json
import pathlib

import made_mpii
import numpy as np
import pytest
import scipy.io
from test_end_to_end import command, finish, logged, start

from hrnet_jax import prepare
from hrnet_jax.evaluation import pckh
from hrnet_jax.skeletons import MPII

ON_MPII = {
    "skeleton": "mpii",
    "image_size": "(64,64)",
    "data.train_split": "train",
    "data.val_split": "valid",
    "epochs": 1,
    "eval_every": 1,
}


def prepared(root: pathlib.Path, *, with_truth: bool) -> pathlib.Path:
    """Prepares three splits; the one to test on has no joints."""
    people = made_mpii.people(6)
    made_mpii.write(root / "mpii", people, "train")
    made_mpii.write(root / "mpii", people, "valid")
    unlabelled = [{name: entry[name] for name in ("image", "center", "scale")} for entry in people[:3]]
    made_mpii.write(root / "mpii", unlabelled, "test")
    if with_truth:
        made_mpii.write_truth(root / "mpii", people)
    prepare.prepare_mpii(root / "mpii", root / "records")
    return root / "records"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return prepared(tmp_path_factory.mktemp("with_truth"), with_truth=True)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> tuple[pathlib.Path, str]:
    workdir = tmp_path_factory.mktemp("runs") / "mpii"
    return workdir, finish(start(command("train.py", data, f"--workdir={workdir}", **ON_MPII)))


def test_the_best_checkpoint_is_chosen_by_pckh(trained):
    workdir, output = trained
    (figures,) = [line for line in logged(workdir) if "valid/gt_boxes/PCKh@0.5/Mean" in line]
    best = f"valid/gt_boxes/PCKh@0.5/Mean {figures['valid/gt_boxes/PCKh@0.5/Mean']:.3f}"
    assert f"done: best {best}; results in" in output
    (checkpoint,) = (workdir / "checkpoints" / "best").iterdir()
    meta = json.loads((checkpoint / "meta" / "metadata").read_text())
    assert meta["figures"]["PCKh@0.5/Mean"] == figures["valid/gt_boxes/PCKh@0.5/Mean"]
    assert "note:" not in output


def test_evaluation_prints_the_table_and_writes_everything(trained, data):
    workdir, _ = trained
    output = finish(start(command("eval.py", data, f"--workdir={workdir}", **ON_MPII)))
    for said in ("Head  Shoulder", "Mean@0.11", "right_ankle", "valid/pred.mat"):
        assert said in output
    out = workdir / "eval"
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) >= {"valid/gt_boxes/PCKh@0.5/Wrist", "valid/gt_boxes/PCKh@0.1/Mean"}
    (logged_then,) = [line for line in logged(workdir) if "valid/gt_boxes/PCKh@0.5/Mean" in line]
    assert metrics["valid/gt_boxes/PCKh@0.5/Mean"] == logged_then["valid/gt_boxes/PCKh@0.5/Mean"]
    assert len(metrics["valid/gt_boxes/analysis/curves/Mean"]) == len(pckh.CURVE)
    assert "PCKh by threshold" in (out / "report.html").read_text()
    preds = scipy.io.loadmat(out / "valid" / "pred.mat")["preds"]
    assert preds.shape == (6, MPII.num_joints, 2) and np.isfinite(preds).all()
    assert len(list((out / "pictures").iterdir())) == 2
    assert set(json.loads((out / "per_joint_valid.json").read_text())) == set(MPII.joints)


def test_the_test_split_gives_predictions_for_the_server(trained, data, tmp_path):
    workdir, _ = trained
    changes = ON_MPII | {"data.val_split": "test"}
    output = finish(start(command("eval.py", data, f"--workdir={workdir}", f"--out={tmp_path}", **changes)))
    assert scipy.io.loadmat(tmp_path / "test" / "pred.mat")["preds"].shape == (3, MPII.num_joints, 2)
    assert "PCKh" not in output and not (tmp_path / "metrics.json").exists()


def test_training_without_matlabs_truth_says_so_first_and_keeps_the_last(tmp_path):
    data = prepared(tmp_path, with_truth=False)
    output = finish(start(command("train.py", data, f"--workdir={tmp_path / 'run'}", **ON_MPII)))
    note = output.index("note: split 'valid' has no ground truth to compute PCKh@0.5/Mean from")
    assert "annot/gt_valid.mat" in output
    assert note < output.index("done: results in")
    assert not list((tmp_path / "run" / "checkpoints" / "best").iterdir())
    assert list((tmp_path / "run" / "checkpoints" / "last").iterdir())


def test_a_split_without_joints_is_not_trained_on(data, tmp_path):
    changes = ON_MPII | {"data.train_split": "test"}
    output = finish(start(command("train.py", data, f"--workdir={tmp_path}", **changes)), status=2)
    assert "split 'test' has no annotated people to train or be evaluated on" in output
