"""SimpleBaseline with ResNet-152 at 384x288 on COCO, from ImageNet weights.

    python train.py --config configs/coco_resnet152_384x288.py --workdir runs/resnet152_384x288

The paper's release, val2017, detector boxes: AP .743, AP50 .896, AP75 .811, AP-M .705, AP-L .816, AR .797.
"""

from ml_collections import ConfigDict

from configs import simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = simple_baseline.get_config()
    config.model.depth = 152
    config.image_size = (384, 288)
    config.heatmap.sigma = 3.0
    config.init_from = "weights/resnet152_imagenet.pth"
    return config
