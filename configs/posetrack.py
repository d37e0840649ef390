"""Rows on PoseTrack: networks trained on COCO are trained on with its frames (docs/posetrack.md).

    python train.py --config configs/posetrack.py:hrnet_w48_384x288 --workdir runs/posetrack_hrnet_w48_384x288
    python eval.py --config configs/posetrack.py:hrnet_w48_384x288 --workdir runs/posetrack_hrnet_w48_384x288

All train for 20 epochs with a learning rate of 1e-4, 1e-5 from epoch 10 and 1e-6 from epoch 15 on (Sun et al.
2019), and otherwise as on COCO. ``weights/`` holds the authors' release. `--config.init_from=runs/coco_...` starts
from a run of your own.

`eval.py` computes mAP of single frames, in percent. That of HRNets is mmpose's on a detector's boxes of
PoseTrack18 val; mmpose trains with batches of 512, a learning rate of 5e-4 and on the annotated boxes. Those of
SimpleBaselines are of tracking on PoseTrack17 val, with boxes propagated by flow and similarity by flow over
several frames. HRNet-W48 tracked so has mAP 74.9 and MOTA 57.9 on the test split of 2017 (table 5). Its server is
gone.
"""

from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import rows

MMPOSE, TRACKED = "mmpose, PoseTrack18 val, detector's boxes", "Xiao et al. 2018, PoseTrack17 val, tracked"
FOUR_GPUS_OF_24 = {"batch_size": 96, "model.norm_group_size": 24}


def _row(network: dict[str, Any], weights: str, figures: dict[str, float], source: str) -> rows.Row:
    data = {"data.dir": "data/posetrack", "data.train_split": "train", "data.val_split": "val"}
    schedule = {"epochs": 20, "learning_rate": 1e-4, "learning_rate_drops": (10, 15)}
    start = {"skeleton": "posetrack", "init_from": f"weights/{weights}.pth"}
    return rows.Row(network | data | schedule | start, figures, source)


# fmt: off
ROWS = {
    "hrnet_w32_256x192": _row(
        rows.hrnet(32, (256, 192)), "pose_hrnet_w32_256x192", {"mAP": 76.9}, MMPOSE),
    "hrnet_w32_384x288": _row(
        rows.hrnet(32, (384, 288)), "pose_hrnet_w32_384x288", {"mAP": 77.3}, MMPOSE),
    "hrnet_w48_384x288": _row(
        rows.hrnet(48, (384, 288)) | FOUR_GPUS_OF_24, "pose_hrnet_w48_384x288", {"mAP": 77.8}, MMPOSE),
    "resnet50_256x192": _row(
        rows.simple_baseline(50, (256, 192)), "pose_resnet_50_256x192",
        {"tracked_mAP": 72.4, "MOTA": 62.9}, TRACKED),
    "resnet152_384x288": _row(
        rows.simple_baseline(152, (384, 288)), "pose_resnet_152_384x288",
        {"tracked_mAP": 76.7, "MOTA": 65.4}, TRACKED),
}
# fmt: on


def get_config(row: str = "hrnet_w48_384x288") -> ConfigDict:
    """Returns the configuration of a row."""
    return rows.select(ROWS, row)
