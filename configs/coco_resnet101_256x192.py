"""SimpleBaseline with ResNet-101 at 256x192 on COCO, from ImageNet weights.

    python train.py --config configs/coco_resnet101_256x192.py --workdir runs/resnet101_256x192

The paper's release, val2017, detector boxes: AP .714, AP50 .893, AP75 .793, AP-M .681, AP-L .781, AR .771.
"""

from ml_collections import ConfigDict

from configs import simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = simple_baseline.get_config()
    config.model.depth = 101
    config.init_from = "weights/resnet101_imagenet.pth"
    return config
