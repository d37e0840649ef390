"""The files of docs/extending.md: a user's own parts, outside the package."""

import json
import os
import pathlib
import re
import subprocess
import sys

import cv2
import forking
import jax
import jax.numpy as jnp
import killing
import numpy as np
import pytest

from hrnet_jax import checkpoint_files, fields, heatmap, losses, models, tasks
from hrnet_jax.run import logger, setup
from hrnet_jax.torch_interop import loading

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = dict(
    re.findall(r"```python\n# (my_\w+)\.py\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
)
SMALL = {"image_size": (64, 64), "batch_size": 4, "epochs": 1, "log_every": 1, "checkpoint_every": 2}
SMALL |= {"eval.batch_size": 4, "loader.threads": 1, "warmup_steps": 0, "init_from": ""}
TINY_HRNET = {"model.width": 4, "model.stem": 4, "model.units": (1, 0, 0), "model.blocks": 1}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The user's directory with all files of the page."""
    path = tmp_path_factory.mktemp("user")
    for name, text in FILES.items():
        (path / f"{name}.py").write_text(text)
    sys.path.append(os.fspath(path))
    yield path
    sys.path.remove(os.fspath(path))


def config_of(directory: pathlib.Path, name: str, data: pathlib.Path | str = "", **changes):
    """Returns the configuration of a file, made small."""
    del directory  # it is in Python's path
    config = __import__(name).get_config()
    network = TINY_HRNET if "width" in config.model and "stem" in config.model else {"model.width": 4}
    where = {"data.dir": str(data)} if data else {}
    config.update_from_flattened_dict(SMALL | network | where | changes)
    return config


def one_step(config):
    """Takes a step on random images and returns the state before and after, and the metrics."""
    run = setup.prepare(config)
    step = jax.jit(setup.make_train_step(config, run.task, run.optimizer, run.mesh))
    before = setup.first_state(run)
    random = np.random.default_rng(0)
    batch = {
        name: jnp.asarray(
            random.uniform(0, 64, spec.shape) if name != "visible" else np.ones(spec.shape), spec.dtype
        )
        for name, spec in run.task.inputs().items()
    }
    return before, *step(before, batch)


def test_all_files_are_here():
    assert list(FILES) == ["my_loss", "my_optimizer", "my_head", "my_backbone", "my_codec", "my_simcc", "my_data"]


def test_a_name_that_is_nowhere_is_refused(directory):
    config = config_of(directory, "my_loss")
    config.loss = "my_loss:l2"
    with pytest.raises(ValueError, match=r"`loss` \(='my_loss:l2'\) must be one of mse, ohkm, or `module:name`"):
        tasks.build(config)
    assert fields.find("loss", "my_loss:l1", losses.LOSSES)(
        *[np.ones((1, 2, 2, 3))] * 2, np.ones((1, 3))
    ).shape == (1, 3)


def test_a_loss(directory, made_up_records):
    _, _, metrics = one_step(config_of(directory, "my_loss", made_up_records))
    _, _, squared = one_step(config_of(directory, "my_loss", made_up_records, loss="mse"))
    assert np.isfinite(metrics["loss"]) and metrics["loss"] > squared["loss"]  # Gaussians are mostly near 0


def test_an_optimizer_and_its_schedule(directory, made_up_records):
    config = config_of(directory, "my_optimizer", made_up_records)
    with jax.numpy_dtype_promotion("standard"):
        before, after, _ = one_step(config)
        rate = float(setup.prepare(config).schedule(0))
    change = np.abs(after.params["conv1"]["weight"] - before.params["conv1"]["weight"])
    np.testing.assert_allclose(change, rate, rtol=1e-3)  # Lion's steps have one size
    assert rate < config.learning_rate / 10


def test_a_head_on_the_trunk_of_another_network(directory, made_up_records, tmp_path):
    units = {"model.units": (1, 1, 1)}
    config = config_of(directory, "my_head", made_up_records, **units)
    _, after, _ = one_step(config)
    assert after.params["final_layer"]["weight"].shape == (1, 1, 4 + 8 + 16 + 32, 17)
    assert models.title(models.architecture(config)) == "HRNetV2-W4"
    trunk = config_of(directory, "my_head", made_up_records, **units, **{"model.name": "hrnet"})
    variables = tasks.build(trunk).init()
    variables["params"]["conv1"]["weight"] = variables["params"]["conv1"]["weight"] + 1
    weights = loading.Weights("trunk.pth", loading.to_pytorch(variables), {})
    task = tasks.build(config)
    with pytest.raises(ValueError, match=r"mix: not in the checkpoint"):
        loading.initialize(task.init(), weights, task.describe())
    with pytest.raises(ValueError, match=r"stage4.0.fuse_layers"):  # a pose network's last unit has one output
        loading.initialize(
            task.init(), weights, task.describe(), allow_missing=models.find(config.model.name).heads
        )


def test_a_codec(directory, made_up_records):
    config = config_of(directory, "my_codec", made_up_records)
    _, _, metrics = one_step(config)
    assert np.isfinite(metrics["loss"])
    codec = __import__("my_codec")
    joints = np.array([[[20.0, 31.0], [9.0, 50.0]]], np.float32)
    targets, weights = codec.laplacian(
        joints, np.ones((1, 2), np.float32), image_size=(64, 64), heatmap_size=(16, 16), sigma=2.0, unbiased=False
    )
    assert targets.shape == (1, 16, 16, 2) and (weights == 1).all()
    found, scores = heatmap.decode(targets, "my_codec:center_of_mass")
    np.testing.assert_allclose(found * 4, joints, atol=1.0)
    assert (scores > 0.7).all()


def test_simcc(directory, made_up_records):
    config = config_of(directory, "my_simcc", made_up_records)
    before, after, metrics = one_step(config)
    assert np.isfinite(metrics["loss"])
    for layer in ("mlp_head_x", "mlp_head_y", "final_layer", "conv1"):
        assert (before.params[layer]["weight"] != after.params[layer]["weight"]).any(), layer
    task = tasks.build(config)
    outcome, *_ = task.evaluation(trained=True).predict(task.init(), lambda batch: batch, progress=False)
    assert np.isfinite(outcome.joints).all() and (outcome.scores <= 1).all()


def test_divergence_is_least_where_predictions_are_the_targets(directory):
    simcc, joints = __import__("my_simcc"), np.array([[[20.0, 31.0], [9.5, 50.25], [30.0, 30.0]]], np.float32)
    visible, sizes = np.float32([[1, 1, 0]]), {"image_size": (64, 48), "heatmap_size": (64, 48)}
    targets, weights = heatmap.render(joints, visible, sigma=simcc.SIGMA, unbiased=True, **sizes)
    perfect = targets / targets.sum((1, 2), keepdims=True).clip(simcc.TINY) * simcc.PEAK
    assert (np.abs(simcc.divergence(perfect, targets, weights)) < 1e-5).all()
    others = jnp.stack([jnp.roll(perfect, 2, axis)[0] for axis in (1, 2)])
    worse = simcc.divergence(others, targets, weights)
    assert (worse[:, :2] > 0.1).all() and (worse[:, 2] == 0).all()
    found, scores = heatmap.decode(perfect, "dark")
    np.testing.assert_allclose(found[0, :2], joints[0, :2], atol=1e-2)
    np.testing.assert_allclose(scores[0, :2], 1, atol=0.05)


def write_horses(root: pathlib.Path) -> None:
    """Writes photos of noise, a horse on each."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        lines = []
        for number in range(4):
            name = f"{number}.png"
            cv2.imwrite(str(root / "images" / split / name), random.integers(0, 255, (60, 80, 3), np.uint8))
            joints = random.uniform((20, 15), (60, 45), (5, 2)).tolist()
            lines.append({"photo": name, "size": [80, 60], "joints": joints, "box": [15, 10, 50, 40]})
        (root / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_a_data_set_with_its_own_metric(directory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_horses(tmp_path / "data/horses")
    horses = __import__("my_data")
    horses.main()
    config = config_of(directory, "my_data")
    task = tasks.build(config)
    evaluation = task.evaluation(trained=True)
    assert evaluation.score == "PDJ" and evaluation.logged_score == "val/gt_boxes/PDJ"
    variables = task.init()
    _, _, step = one_step(config)
    assert np.isfinite(step["loss"])
    outcomes = evaluation.predict(variables, lambda batch: batch, progress=False)
    evaluation.write(outcomes, variables, tmp_path / "eval", None)
    metrics = json.loads((tmp_path / "eval/metrics.json").read_text())
    assert [name for name in metrics if "/analysis/" not in name] == ["val/gt_boxes/PDJ"]
    exact = outcomes[0].people
    predictions = horses.protocols.Predictions("gt_boxes", exact, exact.joints, exact.score)
    assert horses.pdj(None, predictions, None) == {"PDJ": 1.0}


def finish(*command, status: int = 0) -> str:
    done = forking.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def third_network(directory, made_up_records, tmp_path_factory):
    """Flags and run directory of a network, a loss and an optimizer of the user, with a moving average."""
    text = (directory / "my_backbone.py").read_text()
    combined = text.replace(
        'return configuration.default("my_backbone:NETWORK")',
        'config = configuration.default("combined:NETWORK")\n'
        '    config.update({"loss": "my_loss:l1", "optimizer": "my_optimizer:lion", "lion_b2": 0.99})\n'
        '    config.update({"average_decay": 0.5, "learning_rate": 1e-3})\n    return config',
    )
    (directory / "combined.py").write_text(combined)
    values = SMALL | {"model.width": 4, "data.dir": made_up_records, "epochs": 2, "eval_every": 1, "log_every": 2}
    flags = [f"--config.{name}={value}" for name, value in values.items() if name != "init_from"]
    flags = [f"--config={directory / 'combined.py'}", *flags, "--config.eval.averaged"]
    workdir = tmp_path_factory.mktemp("runs") / "third"
    killing.finish(killing.start(flags, workdir))
    return flags, workdir


def test_a_third_network_with_a_third_loss_trains_and_resumes_with_the_same_bits(third_network, tmp_path):
    flags, workdir = third_network
    kills = killing.train_with_kills(flags, tmp_path / "killed", workdir, [("saving", 0.0)])
    assert [kill.reached for kill in kills] == [True]
    assert killing.differences(workdir, tmp_path / "killed") == []


def test_it_is_evaluated(third_network):
    flags, workdir = third_network
    finish("eval.py", *flags, f"--workdir={workdir}")
    metrics = json.loads((workdir / "eval/metrics.json").read_text())
    logged = [line["val2017/gt_boxes/AP"] for line in logger.read(workdir) if "val2017/gt_boxes/AP" in line]
    assert metrics["val2017/gt_boxes/AP"] == max(logged)


def convert_as_installed(directory: pathlib.Path, *arguments) -> str:
    """Runs ``hrnet convert`` in the user's directory, which is then not in Python's path."""
    program = "import sys; from hrnet_jax import console, convert; console.run(convert.main)"
    command = [sys.executable, "-P", "-c", program, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.fspath(ROOT)}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_two_of_its_runs_are_compared_with_its_configuration(third_network, tmp_path):
    flags, workdir = third_network
    compare = ["-m", "hrnet_jax.compare", f"--workdir={workdir}", f"--against={workdir}", f"--out={tmp_path}"]
    assert "is none of hrnet, simple_baseline, hourglass, cpn" in finish(*compare, status=2)
    assert "the same, bit for bit" in finish(*compare, flags[0])


def test_it_is_converted_and_its_average_is_a_choice(third_network, directory, torch, tmp_path):
    del torch
    _, workdir = third_network
    average, _, _ = checkpoint_files.read_weights(workdir, averaged=True)
    weights, description, _ = checkpoint_files.read_weights(workdir)
    assert description["name"] == "combined:NETWORK"
    for tree, options in ((weights, []), (average, ["--averaged"])):
        target = tmp_path / f"weights{len(options)}.pth"
        command = ["-m", "hrnet_jax.convert", workdir, target, *options]
        assert "name its network with --network" in finish(*command, status=2)
        assert "No module named 'combined'" in finish(*command, "--network", "combined:NETWORK", status=2)
        assert "tensors loaded" in convert_as_installed(directory, *command[2:], "--network", "combined:NETWORK")
        converted = loading.read(target).tensors
        for name, tensor in loading.to_pytorch(tree).items():
            np.testing.assert_array_equal(converted[name], tensor)
    newest, averaged = (tree["params"]["final_layer"]["weight"] for tree in (weights, average))
    assert not np.array_equal(newest, averaged)


def test_it_is_not_replayed_since_files_name_no_code(third_network):
    assert "is none of hrnet, simple_baseline, hourglass, cpn" in finish(
        "train.py", f"--replay={third_network[1]}", status=2
    )


def test_it_is_compared_with_its_counterpart(directory, torch, tmp_path):
    del torch
    flags = [f"--config={directory / 'my_backbone.py'}", "--config.image_size=(64,64)", "--config.model.width=4"]
    compare = ["-m", "hrnet_jax.compare", *flags, f"--out={tmp_path / 'out'}", "--steps=2"]
    assert "all tolerances held" in finish(*compare)
    third_loss = finish(*compare, "--config.loss=my_loss:l1", status=2)
    assert "`loss` (='my_loss:l1') has no counterpart in PyTorch: give --steps 0" in third_loss
    assert "all tolerances held" in finish(*compare[:-1], "--config.loss=my_loss:l1", "--steps=0")
    without = [flag.replace("my_backbone", "my_head") for flag in compare]
    assert "has no counterpart in PyTorch to compare with" in finish(*without, "--config.init_from=", status=2)
