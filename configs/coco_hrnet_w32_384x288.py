"""HRNet-W32 at 384x288 on COCO, from ImageNet weights.

    python train.py --config configs/coco_hrnet_w32_384x288.py --workdir runs/hrnet_w32_384x288

The paper, val2017, detector boxes: AP .758, AP50 .906, AP75 .825, AP-M .720, AP-L .827, AR .809.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = default.get_config()
    config.image_size = (384, 288)
    config.heatmap.sigma = 3.0
    config.init_from = "weights/hrnet_w32_imagenet.pth"
    return config
