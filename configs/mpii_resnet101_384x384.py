"""SimpleBaseline with ResNet-101 at 384x384 on MPII, from ImageNet weights.

    python train.py --config configs/mpii_resnet101_384x384.py --workdir runs/mpii_resnet101_384x384

The authors' release, validation split: PCKh@0.5 90.0, "Mean@0.1" 38.9 (which is at 0.11 in truth).
"""

from ml_collections import ConfigDict

from configs import mpii, simple_baseline


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = mpii.on_mpii(simple_baseline.get_config())
    config.model.depth = 101
    config.image_size = (384, 384)
    config.heatmap.sigma = 3.0
    config.init_from = "weights/resnet101_imagenet.pth"
    return config
