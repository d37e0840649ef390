"""The configuration of a run: every field once, with its default, unit and source.

The defaults are those of HRNet-W32 at 256x192 on COCO (Sun et al. 2019, section 4.1, and the authors' release).
The tables in ``configs/`` change a few of them for each published row; ``--config.batch_size=64`` on the command
line changes one.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import validation


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a configuration.

    Attributes:
      default: its value unless a row or the command line gives another.
      help: meaning, unit and source.
      minimum: least value of an integer field, None for fields of other types.
      resumable: True if a resumed run may have another value, since it does not affect the weights beyond
        rounding.
      network: True if weights fit only a network with the same value.
    """

    default: Any
    help: str
    minimum: int | None = None
    resumable: bool = False
    network: bool = False


RUN = {
    "task": Field("top_down", "A task in hrnet_jax/tasks/, or `module:name` of your own."),
    "seed": Field(0, "Seed of initialization, shuffling and augmentation.", minimum=0),
    "skeleton": Field("coco", "A name in hrnet_jax/skeletons.py, or a JSON file.", network=True),
    "image_size": Field((256, 192), "Crop pixels (height, width), multiples of 32.", network=True),
    "data.dir": Field("data/coco", "Output directory of `prepare`.", resumable=True),
    "data.train_split": Field("train2017", "Split to train on."),
    "data.val_split": Field("val2017", "Split to evaluate on."),
    "heatmap.sigma": Field(2.0, "Heatmap pixels. The release uses 2, or 3 at 384x288; the paper says 1."),
    "heatmap.unbiased": Field(False, "True does not round centers to pixels (DARK, Zhang et al. 2020)."),
    "augment.scale": Field(0.35, "Standard deviation and bound of the scale factor."),
    "augment.rotation": Field(45.0, "Standard deviation in degrees; the bound is twice that."),
    "augment.rotation_probability": Field(0.6, "Probability of rotating at all."),
    "augment.flip": Field(0.5, "Probability of mirroring."),
    "augment.half_body": Field(0.3, "Probability of cropping the upper or lower body only."),
    "augment.half_body_min_joints": Field(8, "Half-body crops need more visible joints than this."),
    "init_from": Field("", "Initial weights: a run, a checkpoint or a PyTorch file. Empty: N(0, 0.001)."),
    "batch_size": Field(128, "People per optimizer step, over all devices.", minimum=0),
    "accumulation": Field(1, "Parts of a batch computed one after another, to save memory.", minimum=1),
    "fsdp": Field(False, "Shard the optimizer state over devices (docs/scale.md).", resumable=True),
    "epochs": Field(210, "Passes over the training split.", minimum=1),
    "learning_rate": Field(1e-3, "Of Adam, for the batch size above."),
    "learning_rate_drops": Field((170, 200), "Epochs after which the learning rate is divided by 10."),
    "warmup_steps": Field(0, "Steps of linear warm-up; the original has none.", minimum=0),
    "weight_decay": Field(0.0, "L2 term added to Adam's gradients. 1e-4 costs HRNet 60 AP."),
    "skip_not_finite": Field(0, "Non-finite steps to skip before the run stops.", minimum=0, resumable=True),
    "loss": Field("mse", '"mse", or "ohkm" for the 8 hardest joints of each person.'),
    "eval.batch_size": Field(128, "People, over all devices.", minimum=1, resumable=True),
    "eval.flip_test": Field(True, "Average with the heatmaps of the mirrored image.", resumable=True),
    "eval.flip_shift": Field(1.0, "Heatmap pixels to shift them by: 1 originally, 0.75 is exact.", resumable=True),
    "eval.decoder": Field("quarter", '"argmax", "quarter" (the original) or "dark".', resumable=True),
    "eval.nms_threshold": Field(0.9, "OKS above which a prediction is a duplicate.", resumable=True),
    "eval.soft_nms": Field(False, "Lower the scores of duplicates instead of removing them.", resumable=True),
    "eval.joint_score_threshold": Field(0.2, "A person's score is the mean over joints above it.", resumable=True),
    "loader.threads": Field(4, "Threads that read and crop photos.", minimum=0, resumable=True),
    "loader.workers": Field(0, "Processes that do, for hosts with many cores.", minimum=0, resumable=True),
    "log_every": Field(100, "Steps.", minimum=1, resumable=True),
    "eval_every": Field(10, "Epochs between evaluations; the best is kept.", minimum=1, resumable=True),
    "checkpoint_every": Field(1000, "Steps.", minimum=1, resumable=True),
    "picture_every": Field(2000, "Steps.", minimum=1, resumable=True),
}
"""Fields of every run."""

MODEL = {
    "colors": Field("RGB", 'Channel order the network reads, "RGB" or "BGR".', network=True),
    "dtype": Field("float32", 'Of activations, "float32" or "bfloat16"; weights are float32.'),
    "norm_group_size": Field(32, "People normalized together (original: those of a GPU); 0 is all."),
    "norm_frozen": Field(False, "Keep the running statistics, for fine-tuning."),
    "remat": Field(False, "Recompute activations: less memory, a third more arithmetic.", resumable=True),
}
"""Fields of every network, below ``config.model``."""

NETWORKS = {
    "hrnet": {
        "width": Field(32, "Channels of the finest branch: 32 or 48 in the paper.", minimum=1, network=True),
        "stem": Field(64, "Channels of the stem, a quarter of those of stage 1.", minimum=1, network=True),
        "units": Field((1, 4, 3), "Exchange units in stages 2, 3 and 4.", network=True),
        "blocks": Field(4, "Residual blocks in each branch of a unit.", minimum=1, network=True),
    },
    "simple_baseline": {
        "depth": Field(50, "Of the ResNet: 50, 101 or 152.", network=True),
        "colors": Field("BGR", "The authors trained these networks on BGR images.", network=True),
    },
}
"""Fields of each network, below ``config.model``."""


def fields(network: str) -> dict[str, Field]:
    """Returns all fields of a run with a network, by full name such as ``model.width``."""
    model = {"name": Field(network, "A network in hrnet_jax/models/__init__.py.", network=True)}
    model |= MODEL | NETWORKS.get(network, {})
    return RUN | {f"model.{name}": field for name, field in model.items()}


def default(network: str = "hrnet") -> ConfigDict:
    """Returns the default configuration of a network: HRNet-W32 or SimpleBaseline ResNet-50."""
    config: dict[str, Any] = {}
    for name, field in fields(network).items():
        group, _, leaf = name.rpartition(".")
        (config.setdefault(group, {}) if group else config)[leaf] = field.default
    return ConfigDict(config)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested fields by full name, such as ``{"model.width": 32}``."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def check(config: Mapping[str, Any], what: str) -> None:
    """Raises ValueError, beginning with `what`, if an integer field is of another type or below its minimum.

    Fields may be missing: those of other networks, and those newer than the configuration.
    """
    for name, field in _all_fields().items():
        group, _, leaf = name.rpartition(".")
        values = validation.require({group: {}, **config}, group, dict, what) if group else config
        if field.minimum is None or leaf not in values:
            continue
        if validation.require({name: values[leaf]}, name, int, what) < field.minimum:
            raise ValueError(f"{what}: `{name}` (={values[leaf]}) must be at least {field.minimum}")


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a run's flat configuration, completed by the defaults of fields newer than the run."""
    flat = flatten(config)
    known = fields(str(flat.get("model.name")))
    return {name: field.default for name, field in known.items()} | flat


def is_resumable(name: str) -> bool:
    """Returns whether a resumed run may have another value of a field."""
    return _any(name, "resumable")


def is_of_network(name: str) -> bool:
    """Returns whether weights fit only a network with the same value of a field."""
    return _any(name, "network")


def _any(name: str, attribute: str) -> bool:
    return name in _all_fields() and getattr(_all_fields()[name], attribute)


def _all_fields() -> dict[str, Field]:
    """Returns the fields of runs with any network."""
    return {name: field for network in NETWORKS for name, field in fields(network).items()}
