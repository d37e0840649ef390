"""The configuration of a run: every field once, with its default, unit and source.

The defaults are those of HRNet-W32 at 256x192 on COCO (Sun et al. 2019, section 4.1, and the authors' release).
The tables in ``configs/`` change a few of them for each published row; ``--config.batch_size=64`` on the command
line changes one.
"""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import models, validation
from hrnet_jax.fields import Field

SHARED = {
    "seed": Field(0, "Seed of initialization, shuffling and augmentation.", minimum=0),
    "skeleton": Field("coco", "A name in hrnet_jax/skeleton_tables.py, or a JSON file.", network=True),
    "data.dir": Field("data/coco", "Output directory of `prepare`.", resumable=True),
    "data.train_split": Field("train2017", "Split to train on."),
    "data.val_split": Field("val2017", "Split to evaluate on."),
    "init_from": Field("", "Initial weights: a run, a checkpoint or a PyTorch file. Empty: N(0, 0.001)."),
    "accumulation": Field(1, "Parts of a batch computed one after another, to save memory.", minimum=1),
    "fsdp": Field(False, "Shard the optimizer state over devices (docs/scale.md).", resumable=True),
    "optimizer": Field("adam", '"adam", "adamw", "sgd", "rmsprop", or `module:name` of your own.', code=True),
    "learning_rate": Field(1e-3, "For the optimizer and the batch size above.", extendable=True),
    "schedule": Field(
        "steps",
        '"steps", "cosine", "polynomial", "constant", or `module:name` of your own.',
        code=True,
        extendable=True,
    ),
    "schedule_power": Field(0.9, 'Of the remaining share of the run, in "polynomial".', extendable=True),
    "warmup_steps": Field(0, "Steps of linear warm-up; the original has none.", minimum=0),
    "weight_decay": Field(0.0, "L2 term of the gradients, of the weights for adamw. 1e-4 costs HRNet 60 AP."),
    "momentum": Field(0.9, "Of sgd and rmsprop."),
    "nesterov": Field(False, "Nesterov's momentum for sgd."),
    "gradient_clip": Field(0.0, "Largest norm of all gradients together; 0 for no limit."),
    "average_decay": Field(0.0, "Of a moving average of the weights, per step; 0 for none."),
    "skip_not_finite": Field(0, "Non-finite steps to skip before the run stops.", minimum=0, resumable=True),
    "eval.averaged": Field(False, "Evaluate the moving average of the weights.", resumable=True),
    "eval.protocol": Field("", "`module:name` of your own. Empty: the data set's.", resumable=True, code=True),
    "eval.flip_test": Field(True, "Average with the heatmaps of the mirrored image.", resumable=True),
    "loader.threads": Field(4, "Threads that read and crop photos.", minimum=0, resumable=True),
    "loader.workers": Field(0, "Processes that do, for hosts with many cores.", minimum=0, resumable=True),
    "log_every": Field(100, "Steps.", minimum=1, resumable=True),
    "eval_every": Field(10, "Epochs between evaluations; the best is kept.", minimum=1, resumable=True),
    "checkpoint_every": Field(1000, "Steps.", minimum=1, resumable=True),
    "picture_every": Field(2000, "Steps.", minimum=1, resumable=True),
}
"""Fields of every task of this package."""

TOP_DOWN = {
    "task": Field("top_down", "A task in hrnet_jax/tasks/, or `module:name` of your own.", code=True),
    "image_size": Field(
        (256, 192), "Crop pixels (height, width), multiples of 32; of 64 for Hourglass.", network=True
    ),
    "codec": Field(
        "original",
        '"original", "dark", "udp", "udp_offset", "udp_offset_v1" or `module:name` (docs/codecs.md).',
        code=True,
    ),
    "data.extra": Field((), 'Directories of more splits to train on, such as "data/aic/train".', items=(str,)),
    "data.weights": Field(
        (), "Visits to a person in an epoch, by split, `train_split` first; () for 1.", items=(int, float)
    ),
    "heatmap.target": Field("gaussian", '"gaussian", or `module:name` of your own.', code=True),
    "heatmap.sigma": Field(2.0, "Heatmap pixels. The release uses 2, or 3 at 384x288; the paper says 1."),
    "heatmap.unbiased": Field(False, "True does not round centers to pixels (DARK, Zhang et al. 2020)."),
    "augment.scale": Field(0.35, "Standard deviation and bound of the scale factor."),
    "augment.rotation": Field(45.0, "Standard deviation in degrees; the bound is twice that."),
    "augment.rotation_probability": Field(0.6, "Probability of rotating at all."),
    "augment.flip": Field(0.5, "Probability of mirroring."),
    "augment.half_body": Field(0.3, "Probability of cropping the upper or lower body only."),
    "augment.half_body_min_joints": Field(8, "Half-body crops need more visible joints than this."),
    "batch_size": Field(128, "People per optimizer step, over all devices.", minimum=0),
    "epochs": Field(210, "Passes over the training split.", minimum=1, extendable=True),
    "learning_rate_drops": Field(
        (170, 200), 'Epochs to divide the rate by 10 after, in "steps".', items=(int, float), extendable=True
    ),
    "loss": Field(
        "mse", '"mse", "ohkm" for the hardest joints of each person, or `module:name` of your own.', code=True
    ),
    "hardest_joints": Field(8, "Joints of each person that ohkm keeps.", minimum=1),
    "joint_weights": Field((), 'Of the loss: () for 1, ("original",) or numbers.', items=(int, float, str)),
    "eval.batch_size": Field(128, "People, over all devices.", minimum=1, resumable=True),
    "eval.flip_shift": Field(1.0, "Heatmap pixels to shift them by: 1 originally, 0.75 is exact.", resumable=True),
    "eval.scales": Field(
        (1.0,), "Sizes of the person in crops whose heatmaps are averaged.", resumable=True, items=(int, float)
    ),
    "eval.rotations": Field((0.0,), "Likewise, degrees.", resumable=True, items=(int, float)),
    "eval.decoder": Field(
        "quarter", '"argmax", "quarter" (the original), "dark", "cpn" or `module:name`.', resumable=True, code=True
    ),
    "eval.nms_threshold": Field(0.9, "OKS above which a prediction is a duplicate.", resumable=True),
    "eval.soft_nms": Field(False, "Lower the scores of duplicates instead of removing them.", resumable=True),
    "eval.joint_score_threshold": Field(0.2, "A person's score is the mean over joints above it.", resumable=True),
}
"""Fields of the task `top_down`."""

BOTTOM_UP = {
    "task": Field("bottom_up", "A task in hrnet_jax/tasks/, or `module:name` of your own.", code=True),
    "image_size": Field((512, 512), "Pixels of the square window, multiples of 32.", network=True),
    "most_people": Field(30, "People of a photo to train on; of more, the first ones.", minimum=1),
    "heatmap.sigma": Field(2.0, "Heatmap pixels, the same at both resolutions."),
    "tag_similarity": Field("exp", 'Of the tags of two people in the loss, "exp" or "max".'),
    "tag_factor": Field(1e-3, "Of the terms of tags in the loss."),
    "augment.scale": Field(
        (0.75, 1.5), "Range of the window, relative to the shorter side of the photo.", items=(int, float)
    ),
    "augment.rotation": Field(30.0, "Bound in degrees."),
    "augment.shift": Field(40, "Bound in photo pixels per 200 pixels of the window.", minimum=0),
    "augment.flip": Field(0.5, "Probability of mirroring."),
    "batch_size": Field(48, "Photos per optimizer step, over all devices.", minimum=0),
    "epochs": Field(300, "Passes over the training split.", minimum=1, extendable=True),
    "learning_rate_drops": Field(
        (200, 260), 'Epochs to divide the rate by 10 after, in "steps".', items=(int, float), extendable=True
    ),
    "eval.batch_size": Field(8, "Photos of one image size, over all devices.", minimum=1, resumable=True),
    "eval.scales": Field(
        (1.0,), "Of images whose heatmaps are averaged, 1 among them.", resumable=True, items=(int, float)
    ),
    "eval.full_size": Field(True, "Enlarge heatmaps to the size of the image.", resumable=True),
    "eval.adjust": Field(True, "Move joints by a quarter of a pixel.", resumable=True),
    "eval.refine": Field(True, "Fill the missing joints of people, even with unlikely places.", resumable=True),
    "eval.joint_threshold": Field(0.1, "Joints have a higher value in the heatmap.", resumable=True),
    "eval.tag_threshold": Field(
        1.0, "Joints with a larger distance of tags found another person.", resumable=True
    ),
    "eval.most_people": Field(
        30, "Joints are compared with the first so many people; 0 for all.", minimum=0, resumable=True
    ),
    "eval.group_on_device": Field(
        False, "Group joints in the program of the network, with up to 64 people compared.", resumable=True
    ),
}
"""Fields of the task `bottom_up` (Cheng et al. 2020, section 4.1, and the authors' release)."""

RUN = SHARED | TOP_DOWN
"""Fields of runs of the task `top_down`."""

OF_TASKS = {"top_down": RUN, "bottom_up": SHARED | BOTTOM_UP}
"""Fields of runs by task."""


def fields(network: str) -> dict[str, Field]:
    """Returns all fields of a run with a network, by full name such as ``model.width``.

    Raises ValueError if there is no such network; see `models.find`.
    """
    found = models.find(network)
    return _of_network(network, found.fields, OF_TASKS["bottom_up" if found.bottom_up else "top_down"])


def fields_of_file(config: Mapping[str, Any]) -> dict[str, Field]:
    """Returns the fields of a configuration read from a file, which must not name code to import.

    For networks outside this package these are only the fields that all runs have.
    """
    name = str(flatten(config).get("model.name"))
    if name in models.NETWORKS:
        return fields(name)
    return _of_network(name, {}, OF_TASKS.get(str(config.get("task")), RUN))


def package_fields() -> dict[str, Field]:
    """Returns the fields of runs with any network of this package."""
    return {name: field for network in models.NETWORKS for name, field in fields(network).items()}


def _of_network(network: str, of_model: Mapping[str, Field], of_run: Mapping[str, Field]) -> dict[str, Field]:
    name = Field(network, "A network in hrnet_jax/models/, or `module:name` of your own.", network=True, code=True)
    return {**of_run} | {f"model.{leaf}": field for leaf, field in {"name": name, **of_model}.items()}


def default(network: str = "hrnet") -> ConfigDict:
    """Returns the default configuration: HRNet-W32, SimpleBaseline or CPN ResNet-50, or 8-stack Hourglass."""
    return build(fields(network))


def build(known: Mapping[str, Field]) -> ConfigDict:
    """Returns the configuration of the defaults of fields by full name."""
    config: dict[str, Any] = {}
    for name, field in known.items():
        group, _, leaf = name.rpartition(".")
        (config.setdefault(group, {}) if group else config)[leaf] = field.default
    return ConfigDict(config)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested fields by full name, such as ``{"model.width": 32}``."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def check(config: Mapping[str, Any], known: Mapping[str, Field], what: str) -> None:
    """Raises ValueError, beginning with `what`, if an integer field is of another type or below its minimum.

    Fields may be missing: those of other networks, and those newer than the configuration.
    """
    for name, field in known.items():
        group, _, leaf = name.rpartition(".")
        values = validation.require({group: {}, **config}, group, dict, what) if group else config
        if field.minimum is None or leaf not in values:
            continue
        if validation.require({name: values[leaf]}, name, int, what) < field.minimum:
            raise ValueError(f"{what}: `{name}` (={values[leaf]}) must be at least {field.minimum}")


def with_defaults(config: Mapping[str, Any], known: Mapping[str, Field]) -> dict[str, Any]:
    """Returns a run's flat configuration, read from JSON, with the defaults of fields newer than the run."""
    defaults = {name: field.default for name, field in known.items()}
    return json.loads(json.dumps(defaults)) | flatten(config)
