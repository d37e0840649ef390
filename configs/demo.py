"""A small HRNet on made-up people, trained and evaluated in minutes on two CPU cores.

    python train.py --config configs/demo.py --workdir runs/demo

`make demo` makes the people, runs this and evaluates it.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the demo's settings."""
    config = default.get_config()
    config.data.dir = "data/made_up/records"
    config.image_size = (128, 96)
    config.model.width = 16
    config.model.stem = 32
    config.model.units = (1, 1, 1)
    config.model.blocks = 2
    config.model.norm_group_size = 0
    # A pixel of these small heatmaps is a large part of a person: keep its fractions.
    config.heatmap.sigma = 1.5
    config.heatmap.unbiased = True
    config.eval.decoder = "dark"
    # In ten minutes only so much variety can be learnt.
    config.augment.rotation = 20.0
    config.augment.half_body = 0.0
    config.batch_size = 32
    config.epochs = 8
    config.warmup_steps = 50
    config.learning_rate = 2e-3
    config.learning_rate_drops = (6, 7)
    config.log_every = 10
    config.eval_every = 4
    config.eval.batch_size = 32
    config.picture_every = 200
    config.loader.threads = 1
    return config
