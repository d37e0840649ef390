"""Every configuration describes a run that can be built."""

import importlib
import re
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from hrnet_jax import configuration, models, optimizer, rows, sharding, tasks
from hrnet_jax.run import setup

NAMES = [f"{table}:{row}" for table in rows.TABLES for row in rows.load(table)]
NAMES += [
    "default",
    "default:simple_baseline",
    "default:hourglass",
    "default:cpn",
    "default:hrnet_ablation",
    "default:hrnet_resolutions",
    "default:higher_hrnet",
    "demo",
    "demo_bottom_up",
    "coco_mini_overfit",
]

ROWS = [name for name in NAMES if name.startswith(("coco:", "mpii:", "data_sets:"))]

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
    "crowdpose": {"skeleton": "crowdpose", "data.train_split": "trainval", "data.val_split": "test"},
    "aic": {"skeleton": "aic", "data.train_split": "train", "data.val_split": "val"},
    "coco_aic": {"data.dir": "data/coco", "data.extra": ("data/aic/train",)},
    "ochuman": {"skeleton": "coco", "data.train_split": "../coco/train2017", "data.val_split": "test"},
    "humanart": {"data.train_split": "train", "data.extra": ("data/coco/train2017",)},
    "wholebody": {"skeleton": "coco_wholebody", "data.dir": "data/coco_wholebody", "data.val_split": "val2017"},
    "halpe26": {"skeleton": "halpe26", "data.train_split": "train", "data.val_split": "val"},
    "ap10k": {"skeleton": "ap10k", "data.train_split": "train-split1", "data.val_split": "val-split1"},
    "lsp": {"skeleton": "lsp", "data.val_split": "test", "data.extra": ("data/lspet/train",)},
    "jhmdb": {"skeleton": "jhmdb", "data.train_split": "train_sub1", "data.val_split": "test_sub1"},
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
    "cpn": {
        **{"model.projection": False, "model.original_targets": False, "model.colors": "RGB", "hardest_joints": 8},
        **{"epochs": 210, "learning_rate_drops": (170, 200)},
    },
}
AUGMENTATION = {  # the release's SCALE_FACTOR, ROT_FACTOR and PROB_HALF_BODY
    ("coco", "hrnet"): (0.35, 45, 0.3),
    ("coco", "simple_baseline"): (0.3, 40, 0),
    ("coco", "hourglass"): (0.35, 45, 0.3),
    ("coco", "cpn"): (0.35, 45, 0.3),
    ("mpii", "hrnet"): (0.25, 30, 0),
    ("mpii", "simple_baseline"): (0.25, 30, 0),
    ("mpii", "hourglass"): (0.25, 30, 0),
    ("data_sets", "hrnet"): (0.35, 45, 0.3),
    ("data_sets", "simple_baseline"): (0.3, 40, 0),
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
    "cpn_resnet50_256x192": (0.686,),
    "cpn_ohkm_resnet50_256x192": (0.694,),
    "cpn_ohkm_resnet101_256x192": (),
    "cpn_ohkm_resnet152_256x192": (),
    "cpn_resnet50_384x288": (0.706,),
    "cpn_ohkm_resnet50_384x288": (0.716,),
    "cpn_ohkm_resnet101_384x288": (0.729,),
    "cpn_ohkm_resnet152_384x288": (),
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

DATA_SETS = {  # mmpose's, and of COCO with AI Challenger Sun et al., table 2
    "hrnet_w32_256x192_crowdpose": {
        "AP": 0.675, "AP50": 0.825, "AP75": 0.729, "AP_easy": 0.77, "AP_medium": 0.687, "AP_hard": 0.553
    },
    "hrnet_w32_256x192_aic": {"AP": 0.323, "AP50": 0.761, "AP75": 0.218, "AR": 0.366},
    "hrnet_w48_384x288_coco_aic": {
        "AP": 0.77, "AP50": 0.927, "AP75": 0.845, "AP_M": 0.734, "AP_L": 0.831, "AR": 0.82
    },
    "hrnet_w32_256x192_ochuman": {},
    "hrnet_w32_256x192_humanart": {"AP": 0.754, "AP50": 0.906, "AP75": 0.812, "AR": 0.783},
    "hrnet_w32_256x192_wholebody": {"AP": 0.536, "AR": 0.636, "AP_body": 0.678, "AP_foot": 0.543, "AP_face": 0.63},
    "hrnet_w32_256x192_halpe26": {},
    "hrnet_w32_256x256_ap10k": {"AP": 0.722, "AP50": 0.935, "AP75": 0.789, "AP_M": 0.557, "AP_L": 0.729},
    "hrnet_w32_256x256_lsp": {},
    "resnet50_256x256_jhmdb": {"PCK@0.2": 96.1, "tPCK@0.2": 81.9},
}  # fmt: skip

FEWEST_LAYERS = {
    "hrnet": {"units": (1, 0, 0), "blocks": 1},
    "simple_baseline": {"depth": 50},
    "hourglass": {"stacks": 2, "depth": 1},
    "cpn": {"depth": 50},
    "hrnet_ablation": {"units": (1, 0, 1), "blocks": 1},
    "hrnet_resolutions": {"units": (1, 0, 1), "blocks": 1},
    "higher_hrnet": {"units": (1, 0, 0), "blocks": 1},
}
SIZES = {"hrnet": "width", "simple_baseline": "depth", "hourglass": "stacks", "cpn": "depth"}
"""The field that the number in a row's name stands for."""
TRUNKS = {"hrnet": "hrnet_w", "simple_baseline": "resnet", "cpn": "resnet"}
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
    _, transformation = optimizer.build(config, steps_per_epoch=10)
    state = setup.state_shapes(config, task, transformation)
    step = setup.make_train_step(config, task, transformation, mesh)
    after, metrics = jax.eval_shape(step, state, task.inputs())
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    assert set(metrics) == {*task.metrics, "finite"}


def published(name: str) -> dict[str, Any]:
    """Returns the settings that decide a row's result, from its name: ``coco:hrnet_w48_384x288``."""
    data, row = name.split(":")
    architecture, size, *rest = re.sub("^(hrnet|cpn)_(ohkm_)?", "", row).split("_")
    network = {"hr": "hrnet", "re": "simple_baseline", "ho": "hourglass", "cp": "cpn"}[row[:2]]
    number, (height, width) = int(re.sub(r"\D", "", architecture)), map(int, size.split("x"))
    scale, rotation, half_body = AUGMENTATION[data, network]
    people = 24 if row.startswith("hrnet_w48_384x288") else 32  # on each of four GPUs
    from_scratch = row.endswith("_scratch") or network not in TRUNKS
    return {
        **COMMON,
        **DATA["_".join(rest) if data == "data_sets" else data],
        **NETWORK[network],
        **{"model.name": network, f"model.{SIZES[network]}": number},
        **{"image_size": (height, width), "heatmap.sigma": 3.0 if height == 384 and network != "cpn" else 2.0},
        **({"model.kernels": (23, 17, 13, 9) if height == 384 else (15, 11, 9, 7)} if network == "cpn" else {}),
        "loss": "ohkm" if "ohkm" in row else "mse",
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


ABLATIONS = {  # the field that differs from HRNet's row, and what is published: table 6, its text, and figure 5
    "final_exchange_w32_256x192": ("variant", "final_exchange", {"AP": 0.708}),
    "across_stages_w32_256x192": ("variant", "across_stages", {"AP": 0.719}),
    "four_branches_w32_256x192": ("variant", "four_branches", {"AP": 0.725}),
    "bilinear_w32_256x192": ("variant", "bilinear", {"AP": 0.726}),
    "product_w32_256x192": ("variant", "product", {"AP": 0.547}),
    "heads_w32_256x192": ("heads", (0, 1, 2, 3), {"AP": 0.744, "AP_2x": 0.689, "AP_4x": 0.55}),
    "head_2x_w32_256x192": ("heads", (1,), {"AP": 0.689}),
    "head_4x_w32_256x192": ("heads", (2,), {"AP": 0.55}),
    "head_8x_w32_256x192": ("heads", (3,), {}),
    "heads_w48_256x192": ("heads", (0, 1, 2, 3), {"AP": 0.751, "AP_2x": 0.696, "AP_4x": 0.554}),
    "head_2x_w48_256x192": ("heads", (1,), {"AP": 0.696}),
    "head_4x_w48_256x192": ("heads", (2,), {"AP": 0.554}),
    "head_8x_w48_256x192": ("heads", (3,), {}),
}
SIGMAS = {"128x96": 1.0, "192x128": 1.5, "320x224": 2.5, "352x256": 2.75}  # 2 at a height of 256


BOTTOM_UP = {  # COCO val2017, CrowdPose test: AP, AP50, AP75, AP of medium and of large people
    "w32_512": (0.671, 0.862, 0.730, 0.615, 0.761),
    "w32_640": (0.685, 0.871, 0.747, 0.643, 0.753),
    "w48_640": (0.699, 0.872, 0.761, 0.654, 0.764),
    "w32_512_crowdpose": (0.655,),
    "hrnet_w32_512": (0.654,),
}


@pytest.mark.parametrize("name", BOTTOM_UP)
def test_published_rows_of_whole_photos(name):
    config, side = load(f"higher_hrnet:{name}"), 640 if "640" in name else 512
    found, (width, photos) = configuration.flatten(config.to_dict()), (48, 10) if "w48" in name else (32, 12)
    crowd = name.endswith("crowdpose")
    expected = {
        **DATA["crowdpose" if crowd else "coco"],
        **{"model.name": "higher_hrnet", "model.width": width, "model.deconvolutions": int("hrnet" not in name)},
        **{"image_size": (side, side), "heatmap.sigma": 2.0, "most_people": 30, "tag_similarity": "exp"},
        "tag_factor": 1e-3,
        **{"augment.scale": (0.75, 1.5), "augment.rotation": 30, "augment.shift": 40, "augment.flip": 0.5},
        **{"batch_size": 4 * photos, "model.norm_group_size": photos},
        **{
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "steps",
            "warmup_steps": 0,
            "weight_decay": 0.0,
        },
        **{"epochs": 300, "learning_rate_drops": (200, 260), "gradient_clip": 0.0},
        "init_from": f"weights/hrnet_w{width}_imagenet.pth",
    }
    assert {field: found[field] for field in expected} == expected
    metrics = ("AP", "AP50", "AP75", "AP_M", "AP_L")
    assert rows.load("higher_hrnet")[name].published == dict(zip(metrics, BOTTOM_UP[name], strict=False))


def differing(name: str, other: str) -> dict[str, Any]:
    """Returns the fields of a configuration that are not those of another one."""
    fields, others = (configuration.flatten(load(each).to_dict()) for each in (name, other))
    return {field: value for field, value in fields.items() if field not in others or others[field] != value}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_differ_from_hrnet_in_one_field(name):
    field, value, figures = ABLATIONS[name]
    width = name.split("_")[-2]
    row = f"coco:hrnet_{width}_256x192" + "_scratch" * (field == "variant")
    network = {"variant": "hrnet_ablation", "heads": "hrnet_resolutions"}[field]
    assert differing(f"ablations:{name}", row) == {"model.name": network, f"model.{field}": value}
    assert rows.load("ablations")[name].published == figures


@pytest.mark.parametrize("size", SIGMAS)
@pytest.mark.parametrize("network", ["hrnet_w32", "resnet50"])
def test_figure_6_scales_the_gaussians_with_the_height(network, size):
    changed = {"image_size": tuple(map(int, size.split("x"))), "heatmap.sigma": SIGMAS[size]}
    assert differing(f"ablations:{network}_{size}", f"coco:{network}_256x192") == changed
    assert not rows.load("ablations")[f"{network}_{size}"].published
    assert len(rows.load("ablations")) == len(ABLATIONS) + 2 * len(SIGMAS)


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


def test_published_figures_of_other_data_sets():
    assert {name: dict(row.published) for name, row in rows.load("data_sets").items()} == DATA_SETS


POSETRACK = {  # mmpose's on detected boxes, and Xiao et al.'s of tracking with boxes and similarity by flow
    "hrnet_w32_256x192": {"mAP": 76.9},
    "hrnet_w32_384x288": {"mAP": 77.3},
    "hrnet_w48_384x288": {"mAP": 77.8},
    "resnet50_256x192": {"tracked_mAP": 72.4, "MOTA": 62.9},
    "resnet152_384x288": {"tracked_mAP": 76.7, "MOTA": 65.4},
}


@pytest.mark.parametrize("row", rows.load("posetrack"))
def test_rows_on_posetrack_go_on_from_those_on_coco(row):
    network, size = row.rsplit("_", 1)
    weights = f"weights/pose_{network.replace('resnet', 'resnet_')}_{size}.pth"
    data = {"data.dir": "data/posetrack", "data.train_split": "train", "data.val_split": "val"}
    schedule = {"epochs": 20, "learning_rate": 1e-4, "learning_rate_drops": (10, 15)}
    changes = {"skeleton": "posetrack", "init_from": weights, **data, **schedule}
    assert differing(f"posetrack:{row}", f"coco:{row}") == changes
    assert rows.load("posetrack")[row].published == POSETRACK[row]


@pytest.mark.parametrize("file", [*rows.TABLES, "default", "demo", "demo_bottom_up", "coco_mini_overfit"])
def test_files_begin_with_their_command(file):
    module = importlib.import_module(f"configs.{file}")
    assert f"python train.py --config configs/{file}.py" in (module.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
def test_configs_have_all_fields_and_no_others(name):
    config = load(name)
    assert configuration.flatten(config.to_dict()).keys() == configuration.fields(config.model.name).keys()
