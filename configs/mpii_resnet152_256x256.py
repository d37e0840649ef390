"""SimpleBaseline with ResNet-152 at 256x256 on MPII, from ImageNet weights.

    python train.py --config configs/mpii_resnet152_256x256.py --workdir runs/mpii_resnet152_256x256

The authors' release, validation split: PCKh@0.5 89.6, "Mean@0.1" 35.0 (which is at 0.11 in truth).
"""

from ml_collections import ConfigDict

from configs import mpii, simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = mpii.on_mpii(simple_baseline.get_config())
    config.model.depth = 152
    config.init_from = "weights/resnet152_imagenet.pth"
    return config
