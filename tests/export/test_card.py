import dataclasses
import json
import shlex

import made_weights
import pytest

from hrnet_jax import buckets
from hrnet_jax.export import card


@pytest.fixture
def run(tmp_path):
    """A run directory with a manifest and metrics."""
    config = made_weights.small_config()
    config.data.dir, config.learning_rate, config.init_from = "/home/me/secret", 0.5, "/home/me/imagenet.pth"
    start = {
        "config": json.loads(config.to_json_best_effort()),
        "host": "mine",
        "command": ["python", "train.py"],
        "time": "2026-01-01",
        "data": {"train2017": "aaaa", "val2017": "bbbb"},
        "devices": {"kind": "TPU v5", "count": 8, "processes": 2},
        "code": {"commit": "0123abcd"},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"starts": [start, start]}))
    metrics = {"val2017/gt_boxes/AP": 0.766, "val2017/detector_boxes/AP": 0.745, "val2017/gt_boxes/AR": 0.79}
    metrics |= {"val2017/gt_boxes/APm": -1.0, "val2017/gt_boxes/errors/jitter": 0.1}
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "metrics.json").write_text(json.dumps(metrics))
    return buckets.path(tmp_path)


def test_the_card_of_a_run_has_its_data_and_metrics(network, run):
    text = card.render(dataclasses.replace(network, run=run, as_evaluated=True), "w4.safetensors")
    assert text.startswith("---\nlicense: ") and "# HRNet-W4, coco, 64x64" in text
    for words in ("17 heatmaps of 16x16 pixels", "`train2017`", "`aaaa`", "8 x TPU v5", "`0123abcd`", "2 starts"):
        assert words in text
    assert "| `learning_rate` | 0.5 |" in text and "| `model.width` | 4 |" in text
    assert "Initial weights: `imagenet.pth`" in text and "Fill in the licence" in text


def test_the_card_of_a_network_for_whole_photos_names_its_heads(network):
    description = network.network | {"name": "higher_hrnet", "deconvolutions": 1}
    text = card.render(dataclasses.replace(network, network=description), "w4.safetensors")
    assert "# HigherHRNet-W4, coco, 64x64" in text and "joints of all people in a photo." in text
    assert "Predicts\nheatmaps and tags of 16x16 pixels and heatmaps of 32x32 pixels: nose," in text
    assert "Decoding" not in text


def test_metrics_name_the_source_of_boxes(network, run):
    text = card.render(dataclasses.replace(network, run=run, as_evaluated=True), "w4.safetensors")
    assert "| | val2017/gt_boxes | val2017/detector_boxes |\n|---|---|---|\n| AP | 0.766 | 0.745 |" in text
    assert "| AR | 0.790 | - |" in text and "APm" not in text and "jitter" not in text


def test_percentages_of_joints_are_in_the_card(network, run):
    metrics = {"test/gt_boxes/tPCK@0.2/Mean": 81.9, "test/gt_boxes/tPCK@0.2/Head": 90.0}
    (run / "eval" / "metrics.json").write_text(json.dumps(metrics | {"test/gt_boxes/PCK@0.2/Mean": 96.1}))
    text = card.render(dataclasses.replace(network, run=run, as_evaluated=True), "w4.safetensors")
    assert "| tPCK@0.2/Mean | 81.900 |" in text and "| PCK@0.2/Mean | 96.100 |" in text and "Head" not in text


def test_the_card_has_no_metrics_of_other_weights_or_settings(network, run):
    text = card.render(dataclasses.replace(network, run=run, as_evaluated=False), "w4.safetensors")
    assert "0.766" not in text and "Not measured: the run was evaluated with other weights or settings" in text


def test_the_card_tells_nothing_of_the_authors_machine(network, run):
    text = card.render(dataclasses.replace(network, run=run, as_evaluated=True), "w4.safetensors")
    assert "/home/me" not in text and "mine" not in text and "train.py" not in text


def test_the_card_of_a_file_leaves_the_rest_to_fill_in(network):
    text = card.render(network, "w4.safetensors")
    assert "Not known: exported from `tiny.safetensors`" in text and "Not measured" in text


def test_commands_of_the_card_hold_for_any_name(network):
    lines = [
        shlex.split(line) for line in card.render(network, "my w32 [1].safetensors").splitlines() if "w32" in line
    ]
    assert [line[2 if line[0] == "hrnet" else 3] for line in lines] == ["my w32 [1].safetensors"] * 3


def test_a_readme_is_kept(network, tmp_path):
    assert card.write(network, tmp_path / "w4.safetensors")
    (tmp_path / "README.md").write_text("mine")
    assert not card.write(network, tmp_path / "w5.safetensors")
    assert (tmp_path / "README.md").read_text() == "mine"
