"""Every field of a run, once, with its unit and where its value comes from.

The values are those of HRNet-W32 at 256x192 on COCO (Sun et al. 2019, section 4.1, and the authors' release).
A published row is a file that changes a few of them; ``--config.batch_size=64`` on the command line changes one.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns HRNet-W32 at 256x192 on COCO, trained from scratch."""
    config = ConfigDict()
    config.seed = 0  # of initialisation, shuffling and augmentation
    config.skeleton = "coco"  # a name in hrnet_jax/skeletons.py, or a JSON file of one's own
    config.image_size = (256, 192)  # crop pixels (height, width), multiples of 32; heatmaps are a quarter

    config.data = ConfigDict()
    config.data.dir = "data/coco"  # what `python -m hrnet_jax.prepare` wrote
    config.data.train_split = "train2017"
    config.data.val_split = "val2017"

    config.model = hrnet()

    config.heatmap = ConfigDict()
    config.heatmap.sigma = 2.0  # heatmap pixels; the release uses 2 (3 at 384x288), the paper's text says 1
    config.heatmap.unbiased = False  # True: centres not rounded to pixels (DARK, Zhang et al. 2020)

    config.augment = ConfigDict()
    config.augment.scale = 0.35  # deviation and bound of the scale factor
    config.augment.rotation = 45.0  # degrees: deviation; the bound is twice that
    config.augment.rotation_probability = 0.6
    config.augment.flip = 0.5  # probability
    config.augment.half_body = 0.3  # probability
    config.augment.half_body_min_joints = 8  # only people with more visible joints

    config.init_from = ""  # weights to start from: a run, a checkpoint or a PyTorch .pth; "": N(0, 0.001)
    config.batch_size = 128  # people in an optimiser step, on all devices together
    config.accumulation = 1  # parts a batch is worked through in, to save memory
    config.fsdp = False  # True: Adam's moments are split over the devices, not copied to each (docs/scale.md)
    config.epochs = 210
    config.learning_rate = 1e-3  # Adam's, for the batch size above
    config.learning_rate_drops = (170, 200)  # epochs after which it is a tenth
    config.warmup_steps = 0  # over which the rate grows from nothing; the original has none
    config.weight_decay = 0.0  # added to Adam's gradients; above 0 it ruins the run (minus 60 AP at 1e-4)
    config.skip_not_finite = 0  # steps, not finite in loss, gradients or statistics, to leave out before stopping
    config.loss = "mse"  # "mse", or "ohkm": the hardest 8 joints of each person

    config.eval = ConfigDict()
    config.eval.batch_size = 128  # people, on all devices together
    config.eval.flip_test = True  # average with the heatmaps of the mirrored image
    config.eval.flip_shift = 1.0  # heatmap pixels to move those to the right: 1 originally; 0.75 is exact
    config.eval.decoder = "quarter"  # "argmax", "quarter" (the original) or "dark"
    config.eval.nms_threshold = 0.9  # object keypoint similarity above which a person is a duplicate
    config.eval.soft_nms = False
    config.eval.joint_score_threshold = 0.2  # joints below do not count in a person's score

    config.loader = ConfigDict()
    config.loader.threads = 4  # reading and cropping photos
    config.loader.workers = 0  # processes doing so; for hosts of many cores

    config.log_every = 100  # steps
    config.eval_every = 10  # epochs; the best AP (MPII: PCKh) decides which checkpoint is kept
    config.checkpoint_every = 1000  # steps
    config.picture_every = 2000  # steps
    return config


def hrnet() -> ConfigDict:
    """Returns the fields of an HRNet: W32."""
    model = _network("hrnet")
    model.width = 32  # channels of the finest branch: 32 or 48 in the paper
    model.stem = 64  # channels of the stem, a quarter of stage 1's
    model.units = (1, 4, 3)  # exchange units in stages 2, 3, 4
    model.blocks = 4  # residual blocks in each branch of a unit
    return model


def simple_baseline() -> ConfigDict:
    """Returns the fields of a SimpleBaseline: with ResNet-50."""
    model = _network("simple_baseline")
    model.depth = 50  # of the ResNet: 50, 101 or 152
    model.colors = "BGR"  # the authors trained these so
    return model


def _network(name: str) -> ConfigDict:
    """Returns the fields that all networks have."""
    model = ConfigDict()
    model.name = name  # in hrnet_jax/models/__init__.py
    model.colors = "RGB"  # the order in which the network reads an image's colours, "RGB" or "BGR"
    model.dtype = "float32"  # of activations: "float32" or "bfloat16"; weights are float32
    model.norm_group_size = 32  # people normalised together (original: those of a GPU); 0: all
    model.norm_frozen = False  # keep the running statistics as they are (fine-tuning)
    model.remat = False  # less memory for a third more arithmetic
    return model
