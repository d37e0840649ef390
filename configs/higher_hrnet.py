"""Rows of bottom-up pose estimation: HigherHRNets, and the HRNet without deconvolution to compare with.

    python train.py --config configs/higher_hrnet.py:w32_512 --workdir runs/higher_hrnet_w32_512
    python eval.py --config configs/higher_hrnet.py:w32_512 --workdir runs/higher_hrnet_w32_512

Figures are on COCO val2017 and CrowdPose test, of whole photos at one scale with flip test. HigherHRNets for COCO
gain two to three points with ``--config.eval.scales=0.5,1.0,2.0``, those for CrowdPose less with ``1.0,2.0``.

All start from ImageNet weights. The release trains at 640 in float16; ``--config.model.dtype=bfloat16`` is the
counterpart here. It starts networks for CrowdPose from those for COCO: ``--config.init_from=runs/...``. The
figures of CrowdPose and of the HRNet are mmpose's, which trains with batches of 192 photos, a learning rate of
1.5e-3 and 500 steps of warm-up.
"""

from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import rows

RELEASE, MMPOSE = "release of Cheng et al. 2020", "mmpose 0.x"
METRICS = ("AP", "AP50", "AP75", "AP_M", "AP_L")
CROWDPOSE = {
    "skeleton": "crowdpose",
    "data.dir": "data/crowdpose",
    "data.train_split": "trainval",
    "data.val_split": "test",
}


def _row(changes: dict[str, Any], source: str, *figures: float) -> rows.Row:
    return rows.Row(changes, dict(zip(METRICS, figures, strict=False)), source)


# fmt: off
ROWS = {
    "w32_512": _row(rows.higher_hrnet(32, 512), RELEASE, 0.671, 0.862, 0.730, 0.615, 0.761),
    "w32_640": _row(rows.higher_hrnet(32, 640), RELEASE, 0.685, 0.871, 0.747, 0.643, 0.753),
    "w48_640": _row(
        rows.higher_hrnet(48, 640) | {"batch_size": 40, "model.norm_group_size": 10},
        RELEASE, 0.699, 0.872, 0.761, 0.654, 0.764),
    "w32_512_crowdpose": _row(rows.higher_hrnet(32, 512) | CROWDPOSE, MMPOSE, 0.655),
    "hrnet_w32_512": _row(rows.higher_hrnet(32, 512, deconvolutions=0), MMPOSE, 0.654),
}
# fmt: on


def get_config(row: str = "w32_512") -> ConfigDict:
    """Returns the configuration of a row."""
    return rows.select(ROWS, row)
