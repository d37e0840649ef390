"""Networks that the paper compares, small enough to learn from made-up people in minutes on one CPU core.

    python train.py --config configs/learning.py:cpn_ohkm --config.seed=1 --workdir runs/learning/cpn_ohkm_1

All train from scratch on the people of `make demo`, with the same settings and about as many multiply-adds a
person, 60 to 73 million. docs/ablations.md has what they learn.
"""

from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import configuration
from hrnet_jax.models import ablation

NARROW = {"heatmap.sigma": 1.0}
HRNET = {"model.name": "hrnet", "model.width": 16, "model.stem": 32, "model.blocks": 1} | NARROW
CPN = {"model.name": "cpn", "model.stem": 20, "model.features": 80, "model.kernels": (9, 7, 5, 5)}
SHARED = {
    "data.dir": "data/made_up/records",
    "image_size": (64, 64),
    "model.norm_group_size": 0,
    "augment.scale": 0.1,
    "augment.rotation": 0.0,
    "augment.half_body": 0.0,
    "batch_size": 16,
    "epochs": 6,
    "warmup_steps": 100,
    "learning_rate": 2e-3,
    "learning_rate_drops": (5,),
    "log_every": 100,
    "eval_every": 6,
    "eval.batch_size": 16,
    "picture_every": 2000,
    "loader.threads": 1,
}
"""What all rows share: `configs/demo.py`, smaller, with the decoding of the paper."""

ROWS: dict[str, dict[str, Any]] = {
    "final_exchange": HRNET | {"model.name": "hrnet_ablation", "model.variant": ablation.FINAL},
    "across_stages": HRNET | {"model.name": "hrnet_ablation", "model.variant": ablation.ACROSS},
    "hrnet": HRNET,
    "heads": HRNET | {"model.name": "hrnet_resolutions", "model.heads": (0, 1, 2)},
    "hourglass": NARROW
    | {
        "model.name": "hourglass",
        "model.stacks": 2,
        "model.features": 96,
        "model.stem_features": (16, 32, 64),
    },
    "cpn": CPN,
    "cpn_ohkm": CPN | {"loss": "ohkm"},
    "simple_baseline": NARROW | {"model.name": "simple_baseline", "model.stem": 24, "model.features": 96},
}


def get_config(row: str = "hrnet") -> ConfigDict:
    """Returns the configuration of a row.

    Raises:
      ValueError: there is no such row.
    """
    if row not in ROWS:
        raise ValueError(f"there is no row {row!r}: choose one of {', '.join(ROWS)}")
    config = configuration.default(ROWS[row]["model.name"])
    config.update_from_flattened_dict(SHARED | ROWS[row])
    return config
