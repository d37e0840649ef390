"""HRNet-W32 at 256x256 on MPII, from scratch; the published rows on MPII differ from it.

    python train.py --config configs/mpii.py --workdir runs/mpii

`on_mpii` is what any network needs to be trained on MPII instead of COCO.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns HRNet-W32's settings."""
    return on_mpii(default.get_config())


def on_mpii(config: ConfigDict) -> ConfigDict:
    """Changes what is different on MPII: people's joints, photos, shape of the crop, augmentation."""
    config.skeleton = "mpii"
    config.data.update(dir="data/mpii", train_split="train", val_split="valid")
    config.image_size = (256, 256)
    config.augment.update(scale=0.25, rotation=30.0, half_body=0.0)
    return config
