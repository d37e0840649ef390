"""Our network against itself: equal results have status 0, and a planted change is named at the first place."""

import functools
import json
import pathlib
import shutil
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from flax import linen as nn
from flax import traverse_util

from configs import demo
from hrnet_jax import checkpoint_files, console, models, skeletons
from hrnet_jax.compare import __main__ as command
from hrnet_jax.compare import changes, jax_runner, problem
from hrnet_jax.compare.measured import Measurement
from hrnet_jax.models import batch_norm, layers
from hrnet_jax.run import directory
from hrnet_jax.torch_interop import loading

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = [f"--config={ROOT}/configs/demo.py", "--config.image_size=(64,32)", "--config.model.width=4"]
LAYER = "block.conv2"
LINES = [{"step": 2, "time": 1.0, "loss": 0.5}, {"step": 4, "time": 2.0, "loss": 0.25}]


def small_config(**fields):
    config = demo.get_config()
    config.image_size = (64, 32)
    config.model.width = 4
    config.update(fields)
    return config


def parse(monkeypatch, *arguments) -> flags.FlagValues:
    values = flags.FlagValues()
    command.define_flags(values)
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of ml_collections' import
        values(sys.argv)
    return values


class Network(nn.Module):
    """A network that compiles in a moment, unlike the smallest HRNet."""

    num_joints: int
    width: int
    norm: batch_norm.Norm = batch_norm.Norm()
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, image, train=False):
        x = layers.ConvNorm(self.width, stride=4, relu=True, norm=self.norm, dtype=self.dtype, name="stem")(
            image, train
        )
        x = layers.BasicBlock(self.width, norm=self.norm, dtype=self.dtype, name="block")(x, train)
        return layers.Conv(self.num_joints, 1, use_bias=True, dtype=self.dtype, name="final_layer")(x)


def build(config, **options) -> Network:
    return Network(skeletons.load(config.skeleton).num_joints, config.model.width, **options)


@pytest.fixture(scope="module", autouse=True)
def network():
    """Replaces all networks by this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", build)
        yield


@pytest.fixture
def compare(monkeypatch, tmp_path, capsys):
    """Runs the command where PyTorch cannot be imported. Returns status, output and the report or None."""

    def run(*arguments):
        out = tmp_path / "out"
        values = parse(monkeypatch, *arguments, f"--out={out}")
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(SystemExit) as ended:
            console.run(lambda: command.run(values))
        output, report = capsys.readouterr(), out / "report.json"
        found = json.loads(report.read_text()) if report.is_file() else None
        return ended.value.code, output.out + output.err, found

    return run


@pytest.fixture
def weights_as_layers(monkeypatch):
    """Takes a layer's weights for its output, so that no network is compiled."""

    def measure(setup, precision, steps):
        tensors = loading.to_pytorch(setup.variables)
        return Measurement({name: tensors[f"{name}.weight"] for name in ("stem.0", LAYER)}, {}, {}, [], [])

    monkeypatch.setattr(jax_runner, "measure", measure)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> pathlib.Path:
    """The numbers of the network, with two training steps."""
    path = tmp_path_factory.mktemp("numbers") / "before.npz"
    with pytest.MonkeyPatch.context() as patch:
        assert command.run(parse(patch, *FLAGS, f"--measure={path}", "--steps=2")) == 0
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, pathlib.Path]:
    """Two checkpoints, in which the last bit of one number differs."""
    root, drawn = tmp_path_factory.mktemp("weights"), problem.load_weights(small_config(), "")[0]
    variables = jax.tree.map(lambda array: array.astype(np.float32), drawn)
    for name in ("before", "after"):
        checkpoint_files.write_weights(root / name, variables, models.describe(small_config()), {})
        (kernel,) = (
            array
            for path, array in traverse_util.flatten_dict(variables).items()
            if ".".join(path[1:]) == f"{LAYER}.weight"
        )
        kernel[0, 0, 0, 0] = np.nextafter(kernel[0, 0, 0, 0], np.float32(9))
    return {name: root / name for name in ("before", "after")}


def section(report, name):
    return next(part for part in report["runs"][0]["sections"] if part["name"] == name)


def test_an_unchanged_network_gives_the_same_bits(numbers, compare):
    status, output, report = compare(*FLAGS, "--against", numbers)
    assert status == 0 and "the same, bit for bit" in output
    assert report["held"] and report["first"] is None and report["notes"] == report["differences"] == []
    assert "in float64 by hrnet_jax" in report["reference"] and report["reference"].endswith("on cpu")
    (run,) = report["runs"]
    assert run["precision"] == "float64" and run["steps"]["deviation"] == [0, 0]
    assert len(run["sections"]) == 5
    assert {part[key] for part in run["sections"] for key in ("tolerance", "worst")} == {0}


def test_another_epsilon_is_named_at_the_first_norm(numbers, compare, monkeypatch):
    wrong = batch_norm.Norm(epsilon=1e-5 * (1 + 1e-9))
    monkeypatch.setattr(models, "build", functools.partial(build, norm=wrong))
    status, output, report = compare(*FLAGS, "--against", numbers, "--steps=0")
    assert (
        status == 1
        and "DIFFERENT, first: layers in evaluation mode: first above 0 is stem.1 (BatchNorm)" in output
    )
    assert report["first"] in output and not report["held"]
    rows = section(report, "evaluation")["rows"]
    assert [row["name"] for row in rows if not row["deviation"]] == ["stem.0"]
    assert 0 < section(report, "evaluation")["worst"] < 1e-6


def test_another_program_is_noted(numbers, tmp_path):
    with np.load(numbers) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    about["program"]["versions"]["jax"] = "0.1"
    np.savez(tmp_path / "old.npz", **arrays | {"about": json.dumps(about)})
    make = functools.partial(problem.make_setup, small_config())
    ready = changes.with_numbers(str(tmp_path / "old.npz"), make, [], None, None)
    (note,) = ready.notes
    assert note.startswith("versions.jax was 0.1 and is ") and "jax 0.1, on cpu" in ready.about["reference"]
    assert ready.precisions == ["float64"] and not ready.differences


def test_equal_weights_need_no_network(weights, compare, monkeypatch):
    monkeypatch.setattr(jax_runner, "measure", None)
    status, output, report = compare(
        *FLAGS, "--checkpoint", weights["before"], "--against", weights["before"] / "0"
    )
    assert status == 0 and "the same, bit for bit" in output
    assert [part["name"] for part in report["runs"][0]["sections"]] == ["variables"]
    names = [row["name"] for row in section(report, "variables")["rows"]]
    assert names[0] == "stem.0.weight" and names[-1].startswith("final_layer.") and len(names) == 17


def test_a_changed_tensor_is_named_and_then_its_layer(weights, compare, tmp_path):
    status, output, report = compare(*FLAGS, "--checkpoint", weights["after"], "--against", weights["before"])
    assert status == 1
    assert f"DIFFERENT, first: weights and running statistics: first above 0 is {LAYER}.weight (Conv)" in output
    above = [row["name"] for row in section(report, "variables")["rows"] if row["deviation"]]
    assert above == [f"{LAYER}.weight"] and 0 < section(report, "variables")["worst"] < 1e-6
    assert section(report, "evaluation")["first"]["name"] == section(report, "training")["first"]["name"] == LAYER
    assert LAYER in (tmp_path / "out/report.html").read_text()


def test_a_tolerance_permits_a_deviation(weights, compare, weights_as_layers):
    named = [*FLAGS, "--checkpoint", weights["after"], "--against", weights["before"]]
    status, output, report = compare(*named, "--tolerance=1e-6")
    assert status == 0 and "the same, within 1e-06" in output and section(report, "variables")["worst"] > 0
    assert compare(*named, "--tolerance=1e-12")[0] == 1


def write_run(path, checkpoint, fingerprint="0a", lines=LINES, starts=({"step": 0},), **fields) -> pathlib.Path:
    """Writes the directory of a run with a checkpoint after step 4, and starts with the fields they changed."""
    path.mkdir()
    directory.claim(path, small_config(**fields))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    configs = [{"config": small_config(**fields | start.get("config", {})).to_dict()} for start in starts]
    entries = [start | config for start, config in zip(starts, configs, strict=True)]
    (path / "manifest.json").write_text(json.dumps({"starts": entries}))
    folder = path / "checkpoints" / "last" / "4"
    shutil.copytree(checkpoint / "0", folder)
    meta = json.loads((folder / "meta/metadata").read_text())
    (folder / "meta/metadata").write_text(json.dumps(meta | {"fingerprint": fingerprint}))
    return path


@pytest.fixture
def run(weights, tmp_path) -> pathlib.Path:
    return write_run(tmp_path / "run", weights["before"])


def test_equal_runs_are_the_same(run, weights, compare, tmp_path):
    other = write_run(tmp_path / "other", weights["before"], lines=[line | {"time": 9.0} for line in LINES])
    status, output, report = compare("--workdir", other, "--against", run)
    assert status == 0 and "the same, bit for bit" in output and report["notes"] == report["differences"] == []
    assert report["config"] == f"{other}/config.json" and report["weights"] == f"{other}/checkpoints/last/4"
    assert report["reference"] == f"{run}, with 2 logged metrics and the state after step 4 in common"


def test_a_run_with_another_seed_differs_from_the_first_line_on(
    run, weights, compare, tmp_path, weights_as_layers
):
    lines = [line | {"loss": 2 * line["loss"]} for line in LINES]
    other = write_run(tmp_path / "other", weights["after"], "0b", lines, seed=1)
    status, output, report = compare("--workdir", other, "--against", run)
    assert status == 1 and report["notes"] == ["config.seed was 0 and is 1"]
    assert "note: config.seed was 0 and is 1\n" in output
    assert report["differences"] == [
        "2 of 2 logged metrics, first at step 2: loss was 0.5 and is 1.0",
        "the state after step 4: its fingerprint was 0a and is 0b",
    ]
    assert report["first"] == report["differences"][0] and f"DIFFERENT, first: {report['first']}" in output
    assert section(report, "variables")["first"]["name"] == f"{LAYER}.weight"
    assert section(report, "evaluation")["first"]["name"] == LAYER


def test_a_run_resumed_with_another_learning_rate_differs_from_there_on(
    run, weights, compare, tmp_path, weights_as_layers
):
    starts = [{"step": 0}, {"step": 2, "config": {"learning_rate": 0.5}}]
    other = write_run(tmp_path / "other", weights["after"], "0b", [LINES[0], LINES[1] | {"loss": 0.3}], starts)
    status, _, report = compare("--workdir", other, "--against", run)
    assert status == 1
    assert report["notes"] == [f"{other} was resumed after step 2, and config.learning_rate was 0.002 and is 0.5"]
    assert report["first"] == "1 of 2 logged metrics, first at step 4: loss was 0.25 and is 0.3"


def test_runs_within_a_tolerance_may_have_other_fingerprints(run, weights, compare, tmp_path, weights_as_layers):
    lines = [line | {"loss": line["loss"] * (1 + 1e-9)} for line in LINES]
    other = write_run(tmp_path / "other", weights["after"], "0b", lines)
    (other / "manifest.json").unlink()
    status, _, report = compare("--workdir", other, "--against", run, "--tolerance=1e-6")
    assert status == 0 and report["differences"] == []
    assert report["notes"] == ["the state after step 4: its fingerprint was 0a and is 0b"]
    assert compare("--workdir", other, "--against", run)[0] == 1


def test_runs_without_a_common_checkpoint_are_compared_by_their_logs(run, weights, compare, tmp_path):
    other = write_run(tmp_path / "other", weights["before"])
    (other / "checkpoints/last/4").rename(other / "checkpoints/last/6")
    status, _, report = compare("--workdir", other, "--against", run)
    assert status == 1 and report["runs"] == []
    assert report["first"].startswith("the runs kept no state of the same step")
    assert (tmp_path / "out/report.html").is_file()


def test_runs_of_other_networks_are_refused(run, weights, compare, tmp_path):
    other = write_run(tmp_path / "other", weights["before"], model={"width": 8})
    status, output, report = compare("--workdir", other, "--against", run)
    assert status == 2 and report is None
    assert "different networks: `width` is 4 there and 8 here: give two runs of the same network" in output


def test_weights_and_numbers_of_others_are_refused(numbers, weights, compare):
    for flag, message in (
        ("--config.model.width=8", "`network` is {"),
        ("--seed=1", "computed with other weights or another batch"),
        ("--people=3", "computed with other weights or another batch"),
        ("--steps=3", f"--steps (=3): {numbers} has 2"),
        (
            "--precision=highest",
            "was measured in float64, which differs from highest by rounding: give --precision",
        ),
    ):
        status, output, report = compare(*FLAGS, "--against", numbers, flag)
        assert status == 2 and message in output and report is None
    named = ["--checkpoint", weights["before"], "--against", weights["after"]]
    status, output, _ = compare(*FLAGS, *named, "--config.model.width=8")
    assert status == 2 and "is of another network" in output


def test_numbers_of_pytorch_and_of_ours_are_told_apart(numbers, compare, tmp_path):
    status, output, _ = compare(*FLAGS, "--reference", numbers)
    assert status == 2 and "holds our own numbers: give it as --against" in output
    with np.load(numbers) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    del about["program"]
    np.savez(tmp_path / "torch.npz", **arrays | {"about": json.dumps(about)})
    status, output, _ = compare(*FLAGS, "--against", tmp_path / "torch.npz")
    assert status == 2 and "holds numbers of PyTorch: give it as --reference" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*FLAGS, "--against=runs/a"], "--against (=runs/a) is no .npz file of --measure: to compare weights"),
        ([*FLAGS, "--against=nowhere.npz"], "there are no reference numbers 'nowhere.npz'"),
        ([*FLAGS, "--checkpoint=nowhere.pth", "--against=b"], "there is no checkpoint 'nowhere.pth'"),
        ([*FLAGS, "--measure=before.txt"], "--measure (=before.txt) must end in .npz"),
        (
            [*FLAGS, "--measure=nowhere/before.npz"],
            "--measure (=nowhere/before.npz): its directory does not exist",
        ),
        ([*FLAGS, "--measure=before.npz", "--precision=all"], "a file of --measure holds one"),
        ([*FLAGS, "--tolerance=-1"], "--tolerance (=-1.0) must be a number from 0 on"),
        (["--workdir=runs/a"], "--workdir (=runs/a) is compared with a run: give --against=RUN"),
        (["--workdir=runs/a", "--against=b.npz"], "--workdir (=runs/a) is compared with a run"),
        (["--workdir=nowhere", "--against=runs/a"], "nowhere/config.json cannot be read"),
    ],
)
def test_mistakes_are_reported_in_one_line(compare, arguments, message):
    status, output, report = compare(*arguments)
    assert status == 2 and report is None
    assert output.startswith("error: ") and output.count("\n") == 1 and message in output


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], "config=None, workdir=None: give --config, or a run as --workdir"),
        (["--workdir=runs/a", "--checkpoint=x.pth"], "checkpoint, workdir"),
        ([*FLAGS, "--measure=a.npz", "--against=b.npz"], "against, measure, reference, save_reference"),
    ],
)
def test_flags_that_need_or_exclude_each_other_are_refused(monkeypatch, arguments, names):
    with pytest.raises(flags.IllegalFlagValueError, match=names):
        parse(monkeypatch, *arguments)
