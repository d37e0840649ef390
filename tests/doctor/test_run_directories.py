import json
import os
import pathlib
import shutil

import jax
import made_damage
import numpy as np
import pytest
from made_damage import SPLIT, Damage, edit_json, findings, kinds, truncate

from configs import default, demo_bottom_up
from hrnet_jax import checkpoint, models, pipeline, training
from hrnet_jax.datasets import annotated_photos, records
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.doctor import run_directories
from hrnet_jax.run import directory, logger, manifest


@pytest.fixture(scope="module")
def finished_run(prepared, tmp_path_factory) -> pathlib.Path:
    """A run directory as train.py leaves it: 3 epochs of 2 steps."""
    config = default.get_config()
    config.image_size, config.data.dir, config.log_every, config.epochs = (32, 32), str(prepared), 1, 3
    config.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1, norm_group_size=0)
    count = len(records.open_split(prepared / "train2017").people)
    config.batch_size = count // 2
    workdir = tmp_path_factory.mktemp("runs") / "run"
    workdir.mkdir()
    directory.claim(workdir, config)
    splits = [records.open_split(prepared / name) for name in ("train2017", SPLIT)]
    manifest.add(workdir, {"data": {split.name: records.digest(split) for split in splits}})
    normal = np.random.default_rng(0).normal
    parts = ("params", "batch_stats", "opt_state")
    arrays = {name: {"array": jax.numpy.asarray(normal(size=(64, 64)), np.float32)} for name in parts}
    state = training.TrainState(jax.numpy.zeros((), jax.numpy.int32), **arrays)
    saved, log = checkpoint.Checkpoints(workdir, models.describe(config)), logger.Logger(workdir, 0)
    epoch = pipeline.steps_per_epoch(count, config.batch_size)
    for step in range(1, 3 * epoch + 1):
        log.metrics(step, {"loss": 1 / step, "learning_rate": 1e-3})
        if step % epoch == 0:
            log.metrics(step, {f"{SPLIT}/gt_boxes/AP": 0.1})
            saved.save(state, step)
    saved.save_best(state, 2 * epoch, 0.1)
    saved.close()
    log.close()
    return workdir


@pytest.fixture
def run(finished_run, tmp_path) -> pathlib.Path:
    """A copy of the run, to be changed."""
    return shutil.copytree(finished_run, tmp_path / "run")


def test_a_finished_run_is_sound(finished_run, capsys):
    assert kinds(finished_run) == {}
    assert doctor.main([str(finished_run)]) == 0
    assert "3 of 3 can be read" in capsys.readouterr().out


def edit_log(run, change):
    path = run / "metrics.jsonl"
    path.write_text(change(path.read_text()))


def remove_lines(run, rng):
    row = int(rng.integers(3))
    edit_log(run, lambda text: "".join(text.splitlines(True)[:row] + text.splitlines(True)[row + 2 :]))


def remove_field(run, rng):
    field = str(rng.choice(["skeleton", "data", "batch_size"]))
    edit_json(run / "config.json", lambda content: content.pop(field))


def name_another_split(run, rng):
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"train2017"', '"train2099"'))


def change_digest(run, rng):
    split = ["train2017", SPLIT][int(rng.integers(2))]
    edit_json(run / "manifest.json", lambda content: content["starts"][0]["data"].update({split: "0"}))


def truncate_manifest(run, rng):
    path = run / "manifest.json"
    path.write_text(path.read_text()[: -int(rng.integers(4, 40))])


def arrays_of_a_checkpoint(run, rng):
    folders = sorted(run.glob("checkpoints/*/*/state"))
    files = folders[int(rng.integers(len(folders)))].rglob("d/*")
    return max(files, key=lambda path: path.stat().st_size)


def truncate_arrays(run, rng):
    path = arrays_of_a_checkpoint(run, rng)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = [
    Damage(
        "log cut",
        lambda run, rng: edit_log(run, lambda text: text[: -int(rng.integers(2, 10))]),
        "log_cut",
        ("log_gap", "log_short"),
    ),
    Damage(
        "log damaged",
        lambda run, rng: edit_log(run, lambda text: text.replace('"loss"', "\0\0\0", 1)),
        "log_damaged",
        ("log_gap",),
    ),
    Damage("log gap", remove_lines, "log_gap"),
    Damage("log twice", lambda run, rng: edit_log(run, lambda text: text + text), "log_order"),
    Damage(
        "log not finite",
        lambda run, rng: edit_log(run, lambda text: text.replace("0.5,", "NaN,", 1)),
        "log_not_finite",
    ),
    Damage("log lost", lambda run, rng: (run / "metrics.jsonl").unlink(), "log_missing"),
    Damage("config cut", lambda run, rng: truncate(run / "config.json", rng, 2), "config"),
    Damage("config poor", remove_field, "config"),
    Damage("config elsewhere", name_another_split, "data_unavailable"),
    Damage(
        "other batches",
        lambda run, rng: edit_json(run / "config.json", lambda content: content.update(batch_size=1)),
        "data_changed",
    ),
    Damage("other people", change_digest, "data_changed"),
    Damage("manifest cut", truncate_manifest, "manifest"),
    Damage("checkpoint cut", truncate_arrays, "checkpoint_damaged"),
    Damage("checkpoint lost", lambda run, rng: arrays_of_a_checkpoint(run, rng).unlink(), "checkpoint_damaged"),
    Damage(
        "checkpoint nameless",
        lambda run, rng: next(run.glob("checkpoints/*/*/meta/metadata")).write_text("{"),
        "checkpoint_damaged",
    ),
]


@made_damage.cases(DAMAGES)
def test_finds_damaged_runs(run, damage, seed):
    made_damage.check(damage.apply(run, seed), damage)


def test_a_checkpoint_set_aside_is_a_note(run):
    folder = max(run.glob("checkpoints/last/*"))
    folder.rename(folder.with_suffix(checkpoint.DAMAGED))
    assert kinds(run) == {"checkpoint_aside": "note"}


def test_a_checkpoint_that_can_be_completed_is_kept(run):
    state = max(run.glob("checkpoints/last/*/state"))
    shutil.rmtree(state / "d")
    (state / "manifest.ocdbt").unlink()
    (finding,) = findings(run)
    assert (finding.kind, finding.severity) == ("checkpoint_unmerged", "warning")
    assert finding.remedy.startswith("keep it")


ODD_CONFIGS = [
    {"batch_size": 0}, {"batch_size": "x"}, {"log_every": 0}, {"log_every": "x"}, {"epochs": "x"},
    {"skeleton": 3}, {"skeleton": ["coco"]}, {"data": None}, {"accumulation": 2.5}, {"loader": {"threads": -1}},
    {"data": {"dir": 3, "train_split": "a", "val_split": "a"}},
    {"data": {"dir": "x", "train_split": ["a"], "val_split": "a"}}, {"seed": {}}, {"seed": {"a": 1}}, {"eval": 5},
    {"loader": None}, {"model": []}, {"model": "hrnet"}, {"model": {"width": {}}}, {"eval": {"batch_size": 0}},
]  # fmt: skip


@pytest.mark.parametrize("changes", ODD_CONFIGS, ids=str)
def test_config_fields_of_a_wrong_type_are_a_finding(run, changes):
    edit_json(run / "config.json", lambda content: content.update(changes))
    assert kinds(run) == {"config": "error"}


@pytest.mark.parametrize("file", ["config.json", "manifest.json"])
def test_endless_nesting_is_a_finding(run, file):
    (run / file).write_text("[" * 100_000)
    assert set(kinds(run)) == {pathlib.Path(file).stem}


@pytest.mark.parametrize(
    "line", ['{"step": 1e400}', f'{{"step": {10**30}}}', "[" * 100_000, "3", '{"step": true}']
)
def test_lines_that_are_no_log_entries_are_a_finding(run, line):
    edit_log(run, lambda text: f"{line}\n{text}")
    assert kinds(run) == {"log_damaged": "warning"}


def test_a_manifest_without_digests_is_a_finding(run):
    (run / "manifest.json").write_text('{"starts": [{"data": [1]}]}')
    assert kinds(run) == {"manifest": "warning"}


def test_a_checkpoint_without_joint_names_is_a_finding(run):
    (run / "checkpoints" / "last" / "\u00b2").mkdir()
    assert kinds(run) == {"checkpoint_partial": "note"}
    path = max(run.glob("checkpoints/last/*/meta/metadata"))
    content = json.loads(path.read_text())
    content["network"]["joints"] = 3
    path.write_text(json.dumps({name: value for name, value in content.items() if "digest" not in name}))
    assert kinds(run) == {"checkpoint_damaged": "error", "checkpoint_partial": "note"}


def test_a_run_that_has_just_started_is_sound(run):
    (run / "metrics.jsonl").unlink()
    shutil.rmtree(run / "checkpoints")
    assert kinds(run) == {"checkpoints_none": "note"}


def test_warns_that_resuming_would_clear_the_log(run):
    shutil.rmtree(run / "checkpoints")
    (finding,) = findings(run)
    assert (finding.kind, finding.severity) == ("checkpoints_none", "warning")
    assert finding.remedy.startswith("copy this directory first") and "clears its log" in finding.remedy


def test_does_not_wait_for_a_pipe(run):
    (run / "manifest.json").unlink()
    os.mkfifo(run / "manifest.json")
    assert kinds(run) == {"manifest": "warning"}


@pytest.mark.parametrize(("steps", "repeated"), [([1, 2, 3], ()), ([1, 2, 2, 3], (2,)), ([1, 2, 1], (1,))])
def test_steps_logged_twice_are_found(tmp_path, steps, repeated):
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {step}, "loss": 1}}\n' for step in steps))
    every = [finding for part in run_directories.examine(tmp_path) for finding in part.findings]
    assert tuple(step for finding in every if finding.kind == "log_order" for step in finding.examples) == repeated


@pytest.mark.parametrize(
    ("steps", "starts", "found"),
    [
        ([50, 100, 101, 102, 103], [0, 100], []),
        ([50, 51, 52], [0, 50], []),
        ([50, 100, 150, 200], [0, 110], []),
        ([30, 60, 100, 150], [0, 70], []),
        ([3, 4, 5], [0], [3]),
        ([1, 2, 3, 6, 7], [0, 1], [6]),
    ],
)
def test_finds_gaps_in_the_log_at_any_interval(tmp_path, steps, starts, found):
    (tmp_path / "manifest.json").write_text(json.dumps({"starts": [{"step": step} for step in starts]}))
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {step}, "loss": 1}}\n' for step in steps))
    (tmp_path / "config.json").write_text(json.dumps(default.get_config().to_dict() | {"log_every": 1}))
    every = [finding for part in run_directories.examine(tmp_path) for finding in part.findings]
    assert [step for finding in every if finding.kind == "log_gap" for step in finding.examples] == found


@pytest.fixture
def bottom_up_run(prepared, tmp_path) -> pathlib.Path:
    """The configuration, digests and log of a run on whole photos: two epochs."""
    config = demo_bottom_up.get_config()
    config.data.dir, config.data.train_split, config.data.val_split = str(prepared), "train2017", SPLIT
    config.batch_size, config.epochs = 3, 2
    workdir = tmp_path / "run"
    workdir.mkdir()
    directory.claim(workdir, config)
    train, val = (records.open_split(prepared / name) for name in ("train2017", SPLIT))
    manifest.add(workdir, {"data": {train.name: annotated_photos.digest(train), val.name: records.digest(val)}})
    epoch = pipeline.steps_per_epoch(len(annotated_photos.AnnotatedPhotos.of_split(train)), 3)
    log = logger.Logger(workdir, 0)
    for step in (epoch, 2 * epoch):
        log.metrics(step, {f"{SPLIT}/whole_photos/AP": 0.1})
    log.close()
    return workdir


def test_bottom_up_runs_are_compared_with_photos_and_masks(bottom_up_run):
    data = run_directories.examine(bottom_up_run)[3]
    assert data.findings == [] and " photos in " in data.facts["train2017"]
    edit_json(bottom_up_run / "config.json", lambda content: content.update(batch_size=4))
    assert [finding.kind for finding in run_directories.examine(bottom_up_run)[3].findings] == ["data_changed"]


def test_bottom_up_runs_need_masks(bottom_up_run, prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "data", ignore=shutil.ignore_patterns("masks.npz", "decoded*"))
    edit_json(bottom_up_run / "config.json", lambda content: content["data"].update(dir=str(tmp_path / "data")))
    [finding] = run_directories.examine(bottom_up_run)[3].findings
    assert (finding.kind, finding.examples) == ("data_unavailable", ("train2017",)) and "masks.npz" in finding.what
