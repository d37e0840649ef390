"""HRNet-W48 at 256x192 on COCO, from ImageNet weights.

    python train.py --config configs/coco_hrnet_w48_256x192.py --workdir runs/hrnet_w48_256x192

The paper, val2017, detector boxes: AP .751, AP50 .906, AP75 .822, AP-M .715, AP-L .818, AR .804.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = default.get_config()
    config.model.width = 48
    config.init_from = "weights/hrnet_w48_imagenet.pth"
    return config
