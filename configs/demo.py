"""A small HRNet on made-up people, trained and evaluated in minutes on two CPU cores.

    python train.py --config configs/demo.py --workdir runs/demo

`make demo` makes the people, runs this and evaluates it.
"""

from ml_collections import ConfigDict

from hrnet_jax import configuration


def get_config() -> ConfigDict:
    """Returns the demo's settings."""
    config = configuration.default()
    config.data.dir = "data/made_up/records"
    config.image_size = (128, 96)
    config.model.width = 24
    config.model.stem = 16
    config.model.units = (1, 1, 1)
    config.model.blocks = 2
    config.model.norm_group_size = 0
    # A pixel of these small heatmaps is a large part of a person: keep its fractions.
    config.heatmap.unbiased = True
    config.eval.decoder = "dark"
    config.eval.flip_shift = 0.75
    # In a few minutes only so much variety can be learnt.
    config.augment.update(scale=0.1, rotation=0.0, half_body=0.0)
    # Many small steps: what a small batch needs stays in a CPU's cache.
    config.batch_size = 16
    config.epochs = 12
    config.warmup_steps = 100
    config.learning_rate = 2e-3
    config.learning_rate_drops = (9,)
    config.log_every = 20
    config.eval_every = 6
    config.eval.batch_size = 16
    config.picture_every = 500
    config.loader.threads = 1
    return config
