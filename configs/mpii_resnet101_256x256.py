"""SimpleBaseline with ResNet-101 at 256x256 on MPII, from ImageNet weights.

    python train.py --config configs/mpii_resnet101_256x256.py --workdir runs/mpii_resnet101_256x256

The authors' release, validation split: PCKh@0.5 89.1, "Mean@0.1" 34.0 (which is at 0.11 in truth).
"""

from ml_collections import ConfigDict

from configs import mpii, simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = mpii.on_mpii(simple_baseline.get_config())
    config.model.depth = 101
    config.init_from = "weights/resnet101_imagenet.pth"
    return config
