"""SimpleBaseline with ResNet-152 at 256x192 on COCO, from ImageNet weights.

    python train.py --config configs/coco_resnet152_256x192.py --workdir runs/resnet152_256x192

The paper's release, val2017, detector boxes: AP .720, AP50 .893, AP75 .798, AP-M .687, AP-L .789, AR .778.
"""

from ml_collections import ConfigDict

from configs import simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = simple_baseline.get_config()
    config.model.depth = 152
    config.init_from = "weights/resnet152_imagenet.pth"
    return config
