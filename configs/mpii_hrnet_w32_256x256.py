"""HRNet-W32 at 256x256 on MPII, from ImageNet weights.

    python train.py --config configs/mpii_hrnet_w32_256x256.py --workdir runs/mpii_hrnet_w32_256x256

The authors' release, validation split: PCKh@0.5 90.3, "Mean@0.1" 37.7 (which is at 0.11 in truth).
"""

from ml_collections import ConfigDict

from configs import mpii


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = mpii.get_config()
    config.init_from = "weights/hrnet_w32_imagenet.pth"
    return config
