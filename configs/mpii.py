"""Rows on MPII, validation split: PCKh of the authors' release, and of the Hourglass paper.

    python train.py --config configs/mpii.py:hrnet_w32_256x256 --workdir runs/mpii_hrnet_w32_256x256
    python eval.py --config configs/mpii.py:hrnet_w32_256x256 --workdir runs/mpii_hrnet_w32_256x256

The release has settings for HRNet-W48 but publishes no figure. Its "Mean@0.1" is taken at a threshold of 0.11.
The Hourglass trains as HRNet, from scratch. Princeton's PyTorch code reports 90.2 for it and bearpaw/pytorch-pose
88.8, each with its own training.
"""

from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import rows

RELEASE = "release of Sun et al. 2019"
MPII = {
    "skeleton": "mpii",
    "data.dir": "data/mpii",
    "data.train_split": "train",
    "data.val_split": "valid",
    "augment.scale": 0.25,
    "augment.rotation": 30.0,
    "augment.half_body": 0.0,
}


def _row(changes: dict[str, Any], *figures: float, source: str = RELEASE) -> rows.Row:
    return rows.Row(changes | MPII, dict(zip(("PCKh@0.5", "Mean@0.1"), figures, strict=False)), source)


ROWS = {
    "hrnet_w32_256x256_scratch": _row(rows.hrnet(32, (256, 256), pretrained=False)),
    "hrnet_w32_256x256": _row(rows.hrnet(32, (256, 256)), 90.3, 37.7),
    "hrnet_w48_256x256": _row(rows.hrnet(48, (256, 256))),
    "resnet50_256x256": _row(rows.simple_baseline(50, (256, 256)), 88.5, 34.0),
    "resnet101_256x256": _row(rows.simple_baseline(101, (256, 256)), 89.1, 34.0),
    "resnet152_256x256": _row(rows.simple_baseline(152, (256, 256)), 89.6, 35.0),
    "resnet50_384x384": _row(rows.simple_baseline(50, (384, 384)), 89.1, 38.0),
    "resnet101_384x384": _row(rows.simple_baseline(101, (384, 384)), 90.0, 38.9),
    "resnet152_384x384": _row(rows.simple_baseline(152, (384, 384)), 90.2, 39.4),
    "hourglass8_256x256": _row(rows.hourglass(8, (256, 256)), 88.1, source="Newell et al. 2016"),
}


def get_config(row: str = "hrnet_w32_256x256") -> ConfigDict:
    """Returns the configuration of a row."""
    return rows.select(ROWS, row)
