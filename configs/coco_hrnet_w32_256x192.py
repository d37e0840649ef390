"""HRNet-W32 at 256x192 on COCO, from ImageNet weights.

    python train.py --config configs/coco_hrnet_w32_256x192.py --workdir runs/hrnet_w32_256x192

The paper, val2017, detector boxes: AP .744, AP50 .905, AP75 .819, AP-M .708, AP-L .810, AR .798.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = default.get_config()
    config.init_from = "weights/hrnet_w32_imagenet.pth"
    return config
