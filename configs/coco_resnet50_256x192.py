"""SimpleBaseline with ResNet-50 at 256x192 on COCO, from ImageNet weights.

    python train.py --config configs/coco_resnet50_256x192.py --workdir runs/resnet50_256x192

The paper's release, val2017, detector boxes: AP .704, AP50 .886, AP75 .783, AP-M .671, AP-L .772, AR .763.
"""

from ml_collections import ConfigDict

from configs import simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = simple_baseline.get_config()
    config.init_from = "weights/resnet50_imagenet.pth"
    return config
