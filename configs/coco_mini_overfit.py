"""The full HRNet-W32 learns a few dozen real people by heart: does everything work together?

    python train.py --config configs/coco_mini_overfit.py --workdir runs/coco_mini_overfit
    python eval.py --config configs/coco_mini_overfit.py --workdir runs/coco_mini_overfit

`data/coco_mini` is a small part of COCO in COCO's own layout, prepared with
``python -m hrnet_jax.prepare coco --root PHOTOS --out data/coco_mini``. The second command evaluates on the
people it was trained on; with ``--config.data.val_split=val2017``, on others.
"""

from ml_collections import ConfigDict

from hrnet_jax import configuration


def get_config() -> ConfigDict:
    """Returns the settings for learning by heart on two CPU cores."""
    config = configuration.default()
    config.data.dir = "data/coco_mini"
    config.data.val_split = "train2017"  # the best is who knows these people best
    config.image_size = (128, 96)
    config.model.norm_group_size = 0
    # A pixel of these small heatmaps is a large part of a person: keep its fractions.
    config.heatmap.sigma = 1.5
    config.heatmap.unbiased = True
    config.eval.decoder = "dark"
    # By heart means as they are, and nothing else.
    config.augment.update(scale=0.0, rotation=0.0, flip=0.0, half_body=0.0)
    config.eval.flip_test = False
    config.batch_size = 16
    config.eval.batch_size = 16
    config.epochs = 140
    config.warmup_steps = 100
    config.learning_rate_drops = (110, 130)
    config.log_every = 10
    config.eval_every = 70
    config.checkpoint_every = 200
    config.picture_every = 200
    config.loader.threads = 1
    return config
