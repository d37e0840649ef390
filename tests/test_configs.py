"""Every configuration describes a run that can be built."""

import importlib
import re
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from hrnet_jax import augment, configuration, models, optimizer, rows, sharding, tasks
from hrnet_jax.run import setup

NAMES = [f"{table}:{row}" for table in rows.TABLES for row in rows.load(table)]
NAMES += ["default", "default:simple_baseline", "default:hourglass", "demo", "coco_mini_overfit"]

ROWS = [name for name in NAMES if name.startswith(rows.TABLES) and ":" in name]

PARAMETERS = {  # width: trainable parameters with COCO's 17 joints
    32: 28_536_113,
    48: 63_595_745,
}

COMMON = {  # settings of all published rows (the papers' section 4, and the release where it decides)
    "task": "top_down",
    "heatmap.unbiased": False,
    "augment.rotation_probability": 0.6,
    "augment.flip": 0.5,
    "augment.half_body_min_joints": 8,
    "accumulation": 1,
    "learning_rate": 1e-3,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "skip_not_finite": 0,
    "loss": "mse",
    "eval.flip_test": True,
    "eval.flip_shift": 1.0,
    "eval.decoder": "quarter",
    "eval.nms_threshold": 0.9,
    "eval.soft_nms": False,
    "eval.joint_score_threshold": 0.2,
    "model.dtype": "float32",
    "model.norm_frozen": False,
    "model.remat": False,
}
DATA = {
    "coco": {"skeleton": "coco", "data.train_split": "train2017", "data.val_split": "val2017"},
    "mpii": {"skeleton": "mpii", "data.train_split": "train", "data.val_split": "valid"},
}
NETWORK = {
    "hrnet": {
        **{"model.stem": 64, "model.units": (1, 4, 3), "model.blocks": 4, "model.colors": "RGB"},
        **{"epochs": 210, "learning_rate_drops": (170, 200)},
    },
    "simple_baseline": {"model.colors": "BGR", "epochs": 140, "learning_rate_drops": (90, 120)},
    "hourglass": {
        **{"model.features": 256, "model.depth": 4, "model.stem_features": (64, 128, 128)},
        **{"model.residual_before_head": True, "model.colors": "RGB"},
        **{"epochs": 210, "learning_rate_drops": (170, 200)},
    },
}
AUGMENTATION = {  # the release's SCALE_FACTOR, ROT_FACTOR and PROB_HALF_BODY
    ("coco", "hrnet"): (0.35, 45, 0.3),
    ("coco", "simple_baseline"): (0.3, 40, 0),
    ("coco", "hourglass"): (0.35, 45, 0.3),
    ("mpii", "hrnet"): (0.25, 30, 0),
    ("mpii", "simple_baseline"): (0.25, 30, 0),
    ("mpii", "hourglass"): (0.25, 30, 0),
}
AP = {  # COCO val2017 with the detector's boxes: AP, AP50, AP75, AP of medium and of large people, AR
    "hrnet_w32_256x192_scratch": (0.734, 0.895, 0.807, 0.702, 0.801, 0.789),
    "hrnet_w32_256x192": (0.744, 0.905, 0.819, 0.708, 0.810, 0.798),
    "hrnet_w48_256x192": (0.751, 0.906, 0.822, 0.715, 0.818, 0.804),
    "hrnet_w32_384x288": (0.758, 0.906, 0.825, 0.720, 0.827, 0.809),
    "hrnet_w48_384x288": (0.763, 0.908, 0.829, 0.723, 0.834, 0.812),
    "resnet50_256x192": (0.704, 0.886, 0.783, 0.671, 0.772, 0.763),
    "resnet101_256x192": (0.714, 0.893, 0.793, 0.681, 0.781, 0.771),
    "resnet152_256x192": (0.720, 0.893, 0.798, 0.687, 0.789, 0.778),
    "resnet50_384x288": (0.722, 0.893, 0.789, 0.681, 0.797, 0.776),
    "resnet101_384x288": (0.736, 0.896, 0.803, 0.699, 0.811, 0.791),
    "resnet152_384x288": (0.743, 0.896, 0.811, 0.705, 0.816, 0.797),
    "hrnet_w32_256x192_udp": (0.762, 0.907, 0.829),
    "hrnet_w48_256x192_udp": (0.768, 0.908, 0.833),
    "hrnet_w32_384x288_udp": (0.768, 0.909, 0.832),
    "hrnet_w48_384x288_udp": (0.773, 0.911, 0.836),
    "hrnet_w32_256x192_udp_offset": (0.768, 0.919, 0.837, 0.731, 0.833, 0.816),
    "hrnet_w32_256x192_udp_offset_v1": (0.772, 0.916, 0.842, 0.737, 0.837, 0.825),
    "hrnet_w48_256x192_udp_offset": (0.772, 0.918, 0.837, 0.738, 0.837, 0.820),
    "hrnet_w32_384x288_udp_offset": (0.778, 0.917, 0.845, 0.742, 0.843, 0.824),
    "hrnet_w48_384x288_udp_offset": (0.778, 0.920, 0.843, 0.742, 0.845, 0.825),
    "hourglass2_256x192": (0.665,),
    "hourglass8_256x192": (0.669,),
    "hourglass8_256x256": (0.671,),
}
PCKH = {  # MPII, validation split: mean PCKh at 0.5 and, as the release calls it, at 0.1
    "hrnet_w32_256x256_scratch": (),
    "hrnet_w32_256x256": (90.3, 37.7),
    "hrnet_w48_256x256": (),
    "resnet50_256x256": (88.5, 34.0),
    "resnet101_256x256": (89.1, 34.0),
    "resnet152_256x256": (89.6, 35.0),
    "resnet50_384x384": (89.1, 38.0),
    "resnet101_384x384": (90.0, 38.9),
    "resnet152_384x384": (90.2, 39.4),
    "hourglass8_256x256": (88.1,),
}

FEWEST_LAYERS = {
    "hrnet": {"units": (1, 0, 0), "blocks": 1},
    "simple_baseline": {"depth": 50},
    "hourglass": {"stacks": 2, "depth": 1},
}
SIZES = {"hrnet": "width", "simple_baseline": "depth", "hourglass": "stacks"}
"""The field that the number in a row's name stands for."""
TRUNKS = {"hrnet": "hrnet_w", "simple_baseline": "resnet"}
"""Networks that start from ImageNet weights, and the names of these."""


def load(name: str) -> ConfigDict:
    file, _, row = name.partition(":")
    get_config = importlib.import_module(f"configs.{file}").get_config
    return get_config(row) if row else get_config()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_config_builds_its_step(name):
    """With the fewest layers that its kind of network can have; full size is traced elsewhere."""
    config = load(name)
    models.build(config)
    config.model.update(FEWEST_LAYERS[config.model.name])
    task, mesh = tasks.build(config), sharding.make_mesh()
    augment.Policy(**config.augment)
    _, transformation = optimizer.build(config, steps_per_epoch=10)
    state = setup.state_shapes(config, task, transformation)
    step = setup.make_train_step(config, task, transformation, mesh)
    after, metrics = jax.eval_shape(step, state, task.inputs())
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    assert set(metrics) == {*task.metrics, "finite"} == {"loss", "pck", "finite"}


def published(name: str) -> dict[str, Any]:
    """Returns the settings that decide a row's result, from its name: ``coco:hrnet_w48_384x288``."""
    data, row = name.split(":")
    architecture, size, *_ = row.removeprefix("hrnet_").split("_")
    network = {"hr": "hrnet", "re": "simple_baseline", "ho": "hourglass"}[row[:2]]
    number, (height, width) = int(re.sub(r"\D", "", architecture)), map(int, size.split("x"))
    scale, rotation, half_body = AUGMENTATION[data, network]
    people = 24 if row.startswith("hrnet_w48_384x288") else 32  # on each of four GPUs
    from_scratch = row.endswith("_scratch") or network not in TRUNKS
    return {
        **COMMON,
        **DATA[data],
        **NETWORK[network],
        **{"model.name": network, f"model.{SIZES[network]}": number},
        **{"image_size": (height, width), "heatmap.sigma": 3.0 if height == 384 else 2.0},
        **{"augment.scale": scale, "augment.rotation": rotation, "augment.half_body": half_body},
        **{"batch_size": 4 * people, "model.norm_group_size": people},
        "codec": row[row.index("udp") :] if "udp" in row else "original",
        "init_from": "" if from_scratch else f"weights/{TRUNKS[network]}{number}_imagenet.pth",
    }


@pytest.mark.parametrize("name", ROWS)
def test_published_rows(name):
    config = load(name)
    found, expected = configuration.flatten(config.to_dict()), published(name)
    assert {field: found[field] for field in expected} == expected
    if name.startswith("coco:hrnet") and "offset" not in name:
        assert models.count_parameters(models.build(config), config.image_size) == PARAMETERS[config.model.width]


def test_the_defaults_are_those_of_the_first_row():
    """Except for what every run chooses: its data and the size of its batch."""
    found, expected = configuration.flatten(load("default").to_dict()), published(ROWS[0])
    chosen = {"init_from", "batch_size", "model.norm_group_size", *(name for name in expected if "data." in name)}
    assert ROWS[0] == "coco:hrnet_w32_256x192_scratch"
    assert {name: found[name] for name in expected.keys() - chosen} == {
        name: expected[name] for name in expected.keys() - chosen
    }


@pytest.mark.parametrize(
    ("table", "metrics", "figures"),
    [("coco", ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR"), AP), ("mpii", ("PCKh@0.5", "Mean@0.1"), PCKH)],
)
def test_published_figures(table, metrics, figures):
    expected = {row: dict(zip(metrics, values, strict=False)) for row, values in figures.items()}
    assert {name: dict(row.published) for name, row in rows.load(table).items()} == expected


@pytest.mark.parametrize("file", [*rows.TABLES, "default", "demo", "coco_mini_overfit"])
def test_files_begin_with_their_command(file):
    module = importlib.import_module(f"configs.{file}")
    assert f"python train.py --config configs/{file}.py" in (module.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
def test_configs_have_all_fields_and_no_others(name):
    config = load(name)
    assert configuration.flatten(config.to_dict()).keys() == configuration.fields(config.model.name).keys()
