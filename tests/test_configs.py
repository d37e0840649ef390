"""Every configuration describes a run that can be built."""

import importlib

import jax
import pytest
from ml_collections import ConfigDict

from hrnet_jax import augment, configuration, models, optimizer, rows, sharding, tasks
from hrnet_jax.run import setup

NAMES = [f"{table}:{row}" for table in rows.TABLES for row in rows.load(table)]
NAMES += ["default", "default:simple_baseline", "demo", "coco_mini_overfit"]

PUBLISHED = {  # row: (width, height x width, sigma, parameters)
    "hrnet_w32_256x192": (32, (256, 192), 2, 28_536_113),
    "hrnet_w32_256x192_scratch": (32, (256, 192), 2, 28_536_113),
    "hrnet_w32_384x288": (32, (384, 288), 3, 28_536_113),
    "hrnet_w48_256x192": (48, (256, 192), 2, 63_595_745),
    "hrnet_w48_384x288": (48, (384, 288), 3, 63_595_745),
}

FEWEST_LAYERS = {"hrnet": {"units": (1, 1, 1), "blocks": 1}, "simple_baseline": {"depth": 50}}


def load(name: str) -> ConfigDict:
    file, _, row = name.partition(":")
    get_config = importlib.import_module(f"configs.{file}").get_config
    return get_config(row) if row else get_config()


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


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows(name):
    config = load(f"coco:{name}")
    width, size, sigma, parameters = PUBLISHED[name]
    assert (config.model.width, tuple(config.image_size), config.heatmap.sigma) == (width, size, sigma)
    assert models.count_parameters(models.build(config), size) == parameters
    assert (config.epochs, tuple(config.learning_rate_drops), config.learning_rate) == (210, (170, 200), 1e-3)
    assert config.batch_size == 4 * config.model.norm_group_size  # four GPUs, each with its own statistics
    assert config.weight_decay == 0 and not config.heatmap.unbiased and config.eval.decoder == "quarter"
    assert config.init_from == ("" if name.endswith("scratch") else f"weights/hrnet_w{width}_imagenet.pth")


@pytest.mark.parametrize("file", [*rows.TABLES, "default", "demo", "coco_mini_overfit"])
def test_files_begin_with_their_command(file):
    module = importlib.import_module(f"configs.{file}")
    assert f"python train.py --config configs/{file}.py" in (module.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
def test_configs_have_all_fields_and_no_others(name):
    config = load(name)
    assert configuration.flatten(config.to_dict()).keys() == configuration.fields(config.model.name).keys()


SIMPLE_BASELINES = {  # file: (depth, height x width, sigma)
    f"{data}:resnet{depth}_{size[0]}x{size[1]}": (depth, size, sigma)
    for depth in (50, 101, 152)
    for data, size, sigma in (
        ("coco", (256, 192), 2),
        ("coco", (384, 288), 3),
        ("mpii", (256, 256), 2),
        ("mpii", (384, 384), 3),
    )
}
AUGMENTATION = {  # the release's SCALE_FACTOR, ROT_FACTOR and PROB_HALF_BODY
    ("coco", "hrnet"): (0.35, 45, 0.3),
    ("coco", "simple_baseline"): (0.3, 40, 0),
    ("mpii", "hrnet"): (0.25, 30, 0),
    ("mpii", "simple_baseline"): (0.25, 30, 0),
}


@pytest.mark.parametrize("name", SIMPLE_BASELINES)
def test_rows_of_simple_baselines(name):
    config = load(name)
    depth, size, sigma = SIMPLE_BASELINES[name]
    assert (config.model.depth, tuple(config.image_size), config.heatmap.sigma) == (depth, size, sigma)
    assert (config.epochs, tuple(config.learning_rate_drops), config.learning_rate) == (140, (90, 120), 1e-3)
    assert config.model.colors == "BGR" and config.skeleton == name[:4]
    assert (config.batch_size, config.model.norm_group_size, config.weight_decay) == (128, 32, 0)
    assert config.init_from == f"weights/resnet{depth}_imagenet.pth"


@pytest.mark.parametrize("width", [32, 48])
def test_rows_of_hrnet_on_mpii(width):
    config = load(f"mpii:hrnet_w{width}_256x256")
    assert (config.model.width, tuple(config.image_size), config.heatmap.sigma) == (width, (256, 256), 2)
    assert (config.epochs, tuple(config.learning_rate_drops), config.learning_rate) == (210, (170, 200), 1e-3)
    assert (config.batch_size, config.model.norm_group_size, config.skeleton) == (128, 32, "mpii")
    assert (tuple(config.model.units), config.model.blocks, config.model.stem) == ((1, 4, 3), 4, 64)
    assert config.init_from == f"weights/hrnet_w{width}_imagenet.pth"


@pytest.mark.parametrize("name", [name for name in NAMES if ":" in name and name[-1].isdigit()])
def test_augmentation_is_that_of_the_row(name):
    config = load(name)
    scale, rotation, half_body = AUGMENTATION[name[:4], config.model.name]
    expected = {"scale": scale, "rotation": rotation, "half_body": half_body, "half_body_min_joints": 8}
    assert config.augment.to_dict() == expected | {"rotation_probability": 0.6, "flip": 0.5}
