"""SimpleBaseline with ResNet-50 at 384x288 on COCO, from ImageNet weights.

    python train.py --config configs/coco_resnet50_384x288.py --workdir runs/resnet50_384x288

The paper's release, val2017, detector boxes: AP .722, AP50 .893, AP75 .789, AP-M .681, AP-L .797, AR .776.
"""

from ml_collections import ConfigDict

from configs import simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = simple_baseline.get_config()
    config.image_size = (384, 288)
    config.heatmap.sigma = 3.0
    config.init_from = "weights/resnet50_imagenet.pth"
    return config
