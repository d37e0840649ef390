"""Every configuration describes a run that can be built."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from configs import default
from hrnet_jax import augment, heatmap, losses, models, optimizer, sharding, skeletons, training

NAMES = sorted(
    path.stem for path in (pathlib.Path(default.__file__).parent).glob("*.py") if path.stem != "__init__"
)

PUBLISHED = {  # file: (width, height x width, sigma, parameters)
    "coco_hrnet_w32_256x192": (32, (256, 192), 2, 28_536_113),
    "coco_hrnet_w32_256x192_scratch": (32, (256, 192), 2, 28_536_113),
    "coco_hrnet_w32_384x288": (32, (384, 288), 3, 28_536_113),
    "coco_hrnet_w48_256x192": (48, (256, 192), 2, 63_595_745),
    "coco_hrnet_w48_384x288": (48, (384, 288), 3, 63_595_745),
}


FEWEST_LAYERS = {"hrnet": {"units": (1, 1, 1), "blocks": 1}, "simple_baseline": {"depth": 50}}


def load(name: str) -> ConfigDict:
    return importlib.import_module(f"configs.{name}").get_config()


@pytest.mark.parametrize("name", NAMES)
def test_every_config_builds_its_step(name):
    """With as few layers as its kind of network can have: those of full size are traced elsewhere, and slowly."""
    config = load(name)
    models.build(config)
    config.model.update(FEWEST_LAYERS[config.model.name])
    model = models.build(config)
    augment.Policy(**config.augment)
    assert config.eval.decoder in heatmap.DECODERS and config.loss in losses.LOSSES
    joints = skeletons.load(config.skeleton).num_joints
    size, people = tuple(config.image_size), config.batch_size
    adam = optimizer.adam(optimizer.schedule(config.learning_rate, config.learning_rate_drops, 10), 0.0)
    with jax.numpy_dtype_promotion("standard"):
        state = jax.eval_shape(lambda v: training.init_state(v, adam), models.shapes(model, size))
    batch = {
        "image": jax.ShapeDtypeStruct((people, *size, 3), jnp.uint8),
        "joints": jax.ShapeDtypeStruct((people, joints, 2), jnp.float32),
        "visible": jax.ShapeDtypeStruct((people, joints), jnp.float32),
    }
    step = training.make_train_step(config, model, adam, sharding.replicated(sharding.make_mesh()))
    after, metrics = jax.eval_shape(step, state, batch)
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    assert set(metrics) == {"loss", "pck", "finite"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows(name):
    config = load(name)
    width, size, sigma, parameters = PUBLISHED[name]
    assert (config.model.width, tuple(config.image_size), config.heatmap.sigma) == (width, size, sigma)
    assert models.count_parameters(models.build(config), size) == parameters
    assert (config.epochs, tuple(config.learning_rate_drops), config.learning_rate) == (210, (170, 200), 1e-3)
    assert config.batch_size == 4 * config.model.norm_group_size  # four GPUs, each with its own statistics
    assert config.weight_decay == 0 and not config.heatmap.unbiased and config.eval.decoder == "quarter"
    assert config.init_from == ("" if name.endswith("scratch") else f"weights/hrnet_w{width}_imagenet.pth")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "default"])
def test_configs_read_like_a_lab_note(name):
    module = importlib.import_module(f"configs.{name}")
    assert f"python train.py --config configs/{name}.py --workdir" in (module.__doc__ or "")
    default_config, config = default.get_config(), load(name)
    assert set(config.to_dict()) == set(default_config.to_dict())


SIMPLE_BASELINES = {  # file: (depth, height x width, sigma)
    f"{data}_resnet{depth}_{size[0]}x{size[1]}": (depth, size, sigma)
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
    config = load(f"mpii_hrnet_w{width}_256x256")
    assert (config.model.width, tuple(config.image_size), config.heatmap.sigma) == (width, (256, 256), 2)
    assert (config.epochs, tuple(config.learning_rate_drops), config.learning_rate) == (210, (170, 200), 1e-3)
    assert (config.batch_size, config.model.norm_group_size, config.skeleton) == (128, 32, "mpii")
    assert (tuple(config.model.units), config.model.blocks, config.model.stem) == ((1, 4, 3), 4, 64)
    assert config.init_from == f"weights/hrnet_w{width}_imagenet.pth"


@pytest.mark.parametrize("name", [name for name in NAMES if name[-1].isdigit()])
def test_augmentation_is_that_of_the_row(name):
    config = load(name)
    scale, rotation, half_body = AUGMENTATION[name[:4], config.model.name]
    expected = {"scale": scale, "rotation": rotation, "half_body": half_body, "half_body_min_joints": 8}
    assert config.augment.to_dict() == expected | {"rotation_probability": 0.6, "flip": 0.5}
