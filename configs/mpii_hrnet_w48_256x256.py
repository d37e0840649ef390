"""HRNet-W48 at 256x256 on MPII, from ImageNet weights.

    python train.py --config configs/mpii_hrnet_w48_256x256.py --workdir runs/mpii_hrnet_w48_256x256

The release has its settings; no figure is published.
"""

from ml_collections import ConfigDict

from configs import mpii


def get_config() -> ConfigDict:
    """Returns the row's settings."""
    config = mpii.get_config()
    config.model.width = 48
    config.init_from = "weights/hrnet_w48_imagenet.pth"
    return config
