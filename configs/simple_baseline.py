"""SimpleBaseline with ResNet-50 at 256x192 on COCO, from scratch; the published rows differ from it.

    python train.py --config configs/simple_baseline.py --workdir runs/simple_baseline

The authors start all their rows from ImageNet weights.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the settings that all SimpleBaselines share (Xiao et al. 2018, section 4.1)."""
    config = default.get_config()
    config.model = default.simple_baseline()
    config.augment.update(scale=0.3, rotation=40.0, half_body=0.0)
    config.epochs = 140
    config.learning_rate_drops = (90, 120)
    return config
