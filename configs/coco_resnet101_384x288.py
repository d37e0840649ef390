"""SimpleBaseline with ResNet-101 at 384x288 on COCO, from ImageNet weights.

    python train.py --config configs/coco_resnet101_384x288.py --workdir runs/resnet101_384x288

The paper's release, val2017, detector boxes: AP .736, AP50 .896, AP75 .803, AP-M .699, AP-L .811, AR .791.
"""

from ml_collections import ConfigDict

from configs import simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = simple_baseline.get_config()
    config.model.depth = 101
    config.image_size = (384, 288)
    config.heatmap.sigma = 3.0
    config.init_from = "weights/resnet101_imagenet.pth"
    return config
