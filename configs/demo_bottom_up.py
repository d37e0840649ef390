"""A small HigherHRNet on photos of made-up people, found without boxes.

    python train.py --config configs/demo_bottom_up.py --workdir runs/demo_bottom_up

The photos are those of `make demo`.
"""

from ml_collections import ConfigDict

from hrnet_jax import configuration


def get_config() -> ConfigDict:
    """Returns the demo's settings."""
    config = configuration.default("higher_hrnet")
    config.data.dir = "data/made_up/records"
    config.image_size = (128, 128)
    config.model.width = 16
    config.model.stem = 16
    config.model.units = (1, 1, 1)
    config.model.blocks = 1
    config.model.norm_group_size = 0
    # In minutes only so much variety can be learnt.
    config.augment.update(scale=(0.75, 1.1), rotation=0.0, shift=20)
    # Few of these photos have several people: let tags weigh more. "exp" has no slope where tags are equal.
    config.tag_factor = 0.02
    config.tag_similarity = "max"
    config.batch_size = 8
    config.epochs = 12
    config.warmup_steps = 100
    config.learning_rate = 2e-3
    config.learning_rate_drops = (9,)
    config.log_every = 20
    config.eval_every = 6
    config.picture_every = 500
    config.loader.threads = 1
    return config
