"""Rows on other data sets than COCO and MPII, and on several at once (docs/datasets.md).

    python train.py --config configs/data_sets.py:hrnet_w32_256x192_crowdpose --workdir runs/crowdpose
    python eval.py --config configs/data_sets.py:hrnet_w32_256x192_crowdpose --workdir runs/crowdpose

All train as on COCO. The figures are mmpose's, which trains with batches of 512 people, half the learning rate and
larger rotations; those of AIC, AP-10K and Human-Art are on ground-truth boxes, and AP of COCO-WholeBody is of all
joints. The row on COCO with AI Challenger is the one of Sun et al. on test-dev2017. OCHuman has no people to train
on: evaluate a network trained on COCO there.
"""

from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import rows

MMPOSE = "mmpose"


def _data(skeleton: str, directory: str, train: str, val: str, *extra: str) -> dict[str, Any]:
    splits = {"data.dir": f"data/{directory}", "data.train_split": train, "data.val_split": val}
    return {"skeleton": skeleton, **splits, "data.extra": extra}


def _row(
    changes: dict[str, Any], data: dict[str, Any], figures: dict[str, float], source: str = MMPOSE
) -> rows.Row:
    return rows.Row(changes | data, figures, source)


W32, W32_SQUARE = rows.hrnet(32, (256, 192)), rows.hrnet(32, (256, 256))

# fmt: off
ROWS = {
    "hrnet_w32_256x192_crowdpose": _row(
        W32, _data("crowdpose", "crowdpose", "trainval", "test"),
        {"AP": 0.675, "AP50": 0.825, "AP75": 0.729, "AP_easy": 0.770, "AP_medium": 0.687, "AP_hard": 0.553}),
    "hrnet_w32_256x192_aic": _row(
        W32, _data("aic", "aic", "train", "val"), {"AP": 0.323, "AP50": 0.761, "AP75": 0.218, "AR": 0.366}),
    "hrnet_w48_384x288_coco_aic": _row(
        rows.hrnet(48, (384, 288)) | {"batch_size": 96, "model.norm_group_size": 24},
        _data("coco", "coco", "train2017", "val2017", "data/aic/train"),
        {"AP": 0.770, "AP50": 0.927, "AP75": 0.845, "AP_M": 0.734, "AP_L": 0.831, "AR": 0.820},
        "Sun et al. 2019, table 2"),
    "hrnet_w32_256x192_ochuman": _row(
        W32, _data("coco", "ochuman", "../coco/train2017", "test"), {}, "none"),
    "hrnet_w32_256x192_humanart": _row(
        W32, _data("coco", "humanart", "train", "val", "data/coco/train2017"),
        {"AP": 0.754, "AP50": 0.906, "AP75": 0.812, "AR": 0.783}),
    "hrnet_w32_256x192_wholebody": _row(
        W32, _data("coco_wholebody", "coco_wholebody", "train2017", "val2017"),
        {"AP": 0.536, "AR": 0.636, "AP_body": 0.678, "AP_foot": 0.543, "AP_face": 0.630}),
    "hrnet_w32_256x192_halpe26": _row(W32, _data("halpe26", "halpe26", "train", "val"), {}, "none"),
    "hrnet_w32_256x256_ap10k": _row(
        W32_SQUARE, _data("ap10k", "ap10k", "train-split1", "val-split1"),
        {"AP": 0.722, "AP50": 0.935, "AP75": 0.789, "AP_M": 0.557, "AP_L": 0.729}),
    "hrnet_w32_256x256_lsp": _row(
        W32_SQUARE, _data("lsp", "lsp", "train", "test", "data/lspet/train"), {}, "none"),
    "resnet50_256x256_jhmdb": _row(
        rows.simple_baseline(50, (256, 256)), _data("jhmdb", "jhmdb", "train_sub1", "test_sub1"),
        {"PCK@0.2": 96.1, "tPCK@0.2": 81.9}),
}
# fmt: on


def get_config(row: str = "hrnet_w32_256x192_crowdpose") -> ConfigDict:
    """Returns the configuration of a row."""
    return rows.select(ROWS, row)
