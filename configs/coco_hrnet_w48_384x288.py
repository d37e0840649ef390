"""HRNet-W48 at 384x288 on COCO, from ImageNet weights.

    python train.py --config configs/coco_hrnet_w48_384x288.py --workdir runs/hrnet_w48_384x288

The paper, val2017, detector boxes: AP .763, AP50 .908, AP75 .829, AP-M .723, AP-L .834, AR .812.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = default.get_config()
    config.model.width = 48
    config.image_size = (384, 288)
    config.heatmap.sigma = 3.0
    config.batch_size = 96  # 4 GPUs x 24
    config.model.norm_group_size = 24
    config.init_from = "weights/hrnet_w48_imagenet.pth"
    return config
