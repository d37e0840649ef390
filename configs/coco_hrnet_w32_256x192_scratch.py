"""HRNet-W32 at 256x192 on COCO, from scratch.

    python train.py --config configs/coco_hrnet_w32_256x192_scratch.py --workdir runs/hrnet_w32_256x192_scratch

The paper, val2017, detector boxes: AP .734, AP50 .895, AP75 .807, AP-M .702, AP-L .801, AR .789.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    return default.get_config()
