"""The doctor: planted damages are found, and nothing else; what is sound stays silent."""

import copy
import dataclasses
import json
import os
import pathlib
import shutil
import time
import zlib

import cv2
import damages
import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax import checkpoint, pipeline, prepare
from hrnet_jax.datasets import records
from hrnet_jax.datasets.made_up import dataset
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.doctor import joint_names, people, run_directories, tables
from hrnet_jax.run import directory, logger, manifest
from hrnet_jax.skeletons import COCO

SEEDS = range(3)
SPLIT = "val2017"
BOXES = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> pathlib.Path:
    """Made-up people, enough of them for what is told by statistics."""
    return dataset.write(tmp_path_factory.mktemp("made_up"), train_photos=8, val_photos=48, seed=7, workers=1)


@pytest.fixture(scope="module", params=["made_up", "real"])
def base(request) -> pathlib.Path:
    """A sound data set in COCO's layout."""
    if request.param == "made_up":
        return request.getfixturevalue("made_up")
    return request.getfixturevalue("shared") / "real" / "coco_mini"


def like(root: pathlib.Path, base: pathlib.Path, content: dict, boxes: list | None = None) -> pathlib.Path:
    """A data set that has a split's photos and other annotations."""
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / f"person_keypoints_{SPLIT}.json").write_text(json.dumps(content))
    (root / "images").mkdir()
    (root / "images" / SPLIT).symlink_to(base / "images" / SPLIT)
    if boxes is not None:
        (root / BOXES).parent.mkdir()
        (root / BOXES).write_text(json.dumps(boxes))
    return root


def annotations(base: pathlib.Path) -> dict:
    return json.loads((base / "annotations" / f"person_keypoints_{SPLIT}.json").read_text())


def kinds(path: pathlib.Path, **options) -> dict[str, str]:
    """What is found, with its severity."""
    _, parts = doctor.examine(path, **options)
    every = [finding for part in parts for finding in part.findings]
    for finding in every:
        assert finding.what and finding.remedy and finding.file and finding.split and finding.count > 0
        assert finding.examples and "{count}" not in finding.what
    return {finding.kind: finding.severity for finding in every}


def check(found: dict[str, str], damage: damages.Damage) -> None:
    assert damage.kind in found
    assert found[damage.kind] != "note"
    assert set(found) <= {damage.kind, *damage.besides}


def generator(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), seed])


def test_made_up_people_are_sound(made_up, capsys):
    assert doctor.main([str(made_up)]) == 0
    assert kinds(made_up) == {}
    assert capsys.readouterr().out.endswith("\nsound\n")


@pytest.mark.parametrize("name", ["coco_mini", "coco_four", "mpii_five"])
def test_real_people_are_sound(shared, name):
    assert kinds(shared / "real" / name) == {}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", damages.PEOPLE)
def test_damaged_annotations(base, tmp_path, name, seed):
    content, damage = annotations(base), damages.PEOPLE[name]
    damage.plant(content, generator(name, seed))
    check(kinds(like(tmp_path / "root", base, content)), damage)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", damages.BOXES)
@pytest.mark.parametrize("source", ["made_up", "coco_four"])
def test_damaged_detections(request, tmp_path, name, seed, source):
    made_up = source == "made_up"
    base = request.getfixturevalue("made_up") if made_up else request.getfixturevalue("shared") / "real" / source
    boxes, damage = json.loads((base / BOXES).read_text()), damages.BOXES[name]
    damage.plant(boxes, generator(name, seed))
    check(kinds(like(tmp_path / "root", base, annotations(base), boxes)), damage)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", damages.MPII_ROWS)
def test_damaged_mpii(shared, tmp_path, name, seed):
    base, damage = shared / "real" / "mpii_five", damages.MPII_ROWS[name]
    rows = json.loads((base / "annot" / "valid.json").read_text())
    damage.plant(rows, generator(name, seed))
    (tmp_path / "annot").mkdir()
    (tmp_path / "annot" / "valid.json").write_text(json.dumps(rows))
    (tmp_path / "images").symlink_to(base / "images")
    check(kinds(tmp_path), damage)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", damages.SKELETONS)
def test_damaged_skeletons(made_up, tmp_path, name, seed):
    content, damage = copy.deepcopy(damages.as_file(damages.COCO)), damages.SKELETONS[name]
    damage.plant(content, generator(name, seed))
    path = tmp_path / "skeleton.json"
    path.write_text(json.dumps(content))
    check(kinds(made_up, skeleton=str(path)), damage)


def test_a_skeleton_without_end_is_only_told(made_up, tmp_path):
    (tmp_path / "deep.json").write_text("[" * 10**5)
    assert kinds(made_up, skeleton=str(tmp_path / "deep.json")) == {"skeleton": "error"}


def test_annotations_that_are_a_pipe_are_only_told(tmp_path):
    (tmp_path / "annotations").mkdir()
    os.mkfifo(tmp_path / "annotations" / f"person_keypoints_{SPLIT}.json")
    assert kinds(tmp_path) == {"annotations_unreadable": "error"}


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_numbers_that_are_none_are_told_with_their_place(made_up, tmp_path, number):
    root = like(tmp_path / "it", made_up, annotations(made_up) | {"info": {"unused": "@"}})
    path = next(root.glob("annotations/*"))
    path.write_text(path.read_text().replace('"@"', number))
    _, (part,) = doctor.examine(root)
    (finding,) = part.findings
    assert finding.kind == "numbers_not_finite" and "it['info']['unused'] is " in finding.examples[0]
    assert "photos" in part.facts and "people" in part.facts


def test_such_numbers_of_mpii_and_of_detectors_are_told_too(shared, made_up, tmp_path):
    (tmp_path / "mpii" / "annot").mkdir(parents=True)
    (tmp_path / "mpii" / "images").symlink_to(shared / "real" / "mpii_five" / "images")
    rows = json.loads((shared / "real" / "mpii_five" / "annot" / "valid.json").read_text())
    (tmp_path / "mpii" / "annot" / "valid.json").write_text(
        json.dumps([row | {"note": float("nan")} for row in rows])
    )
    assert kinds(tmp_path / "mpii") == {"numbers_not_finite": "error"}
    root = like(tmp_path / "coco", made_up, annotations(made_up))
    boxes = json.loads((made_up / BOXES).read_text())
    (tmp_path / "boxes.json").write_text(json.dumps([box | {"note": float("inf")} for box in boxes]))
    _, (part,) = doctor.examine(root, tmp_path / "boxes.json")
    assert [finding.kind for finding in part.findings] == ["numbers_not_finite"]


def photos_missing(folder, rng):
    for path in damages.some(sorted(folder.iterdir()), rng):
        path.unlink()


def photos_cut(folder, rng):
    for path in damages.some(sorted(folder.iterdir()), rng):
        path.write_bytes(path.read_bytes()[: int(rng.integers(1, path.stat().st_size - 100))])


def photos_pages(folder, rng):
    for path in damages.some(sorted(folder.iterdir()), rng):
        path.write_text("<html>404 Not Found</html>")


def rewritten(folder, rng, change, share=damages.SHARE):
    for path in damages.some(sorted(folder.iterdir()), rng, share):
        photo = cv2.imread(str(path))
        assert photo is not None
        cv2.imwrite(str(path), change(photo))


def photos_resized(folder, rng):
    scale = float(rng.choice([0.5, 2]))
    rewritten(folder, rng, lambda photo: cv2.resize(photo, None, fx=scale, fy=scale))


def photos_turned(folder, rng):
    rewritten(folder, rng, lambda photo: cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE))


def photos_blue(folder, rng):
    rewritten(folder, rng, lambda photo: photo[..., ::-1], 1)


PHOTOS = {
    "missing": damages.Damage(photos_missing, "photos_missing"),
    "cut": damages.Damage(photos_cut, "photos_damaged"),
    "pages": damages.Damage(photos_pages, "photos_damaged"),
    "resized": damages.Damage(photos_resized, "photo_sizes"),
    "turned": damages.Damage(photos_turned, "photo_sizes"),
    "blue": damages.Damage(photos_blue, "colours"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PHOTOS)
def test_damaged_photos(base, tmp_path, name, seed):
    root, damage = like(tmp_path / "root", base, annotations(base)), PHOTOS[name]
    folder = root / "images" / SPLIT
    folder.unlink()
    shutil.copytree(base / "images" / SPLIT, folder)
    damage.plant(folder, generator(name, seed))
    check(kinds(root), damage)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_photo_under_two_names(base, tmp_path, seed):
    content = annotations(base)
    image = damages.some(content["images"], generator("twice", seed), 0)[0]
    content["images"].append(image | {"id": 10**8, "file_name": "copy.jpg"})
    root = like(tmp_path / "root", base, content)
    folder = root / "images" / SPLIT
    folder.unlink()
    shutil.copytree(base / "images" / SPLIT, folder)
    (folder / "copy.jpg").write_bytes((folder / image["file_name"]).read_bytes())
    assert set(kinds(root)) == {"photos_twice"}


def test_photos_of_training_in_the_other_split(made_up, tmp_path):
    root = like(tmp_path / "root", made_up, annotations(made_up))
    others = json.loads((made_up / "annotations/person_keypoints_train2017.json").read_text())
    folder = root / "images" / "train2017"
    shutil.copytree(made_up / "images" / "train2017", folder)
    (folder / "leak.jpg").write_bytes(next((made_up / "images" / SPLIT).iterdir()).read_bytes())
    shape = cv2.imread(str(folder / "leak.jpg")).shape
    others["images"].append({"id": 10**8, "file_name": "leak.jpg", "height": shape[0], "width": shape[1]})
    (root / "annotations/person_keypoints_train2017.json").write_text(json.dumps(others))
    assert set(kinds(root)) == {"photos_in_two_splits"}


@pytest.fixture(scope="module")
def records_of(made_up, tmp_path_factory) -> pathlib.Path:
    """The made-up people, prepared, with the photos' pixels."""
    out = tmp_path_factory.mktemp("records")
    prepare.prepare_coco(made_up, out, decode=True)
    return out


def test_prepared_people_are_sound(records_of, coco_data, capsys):
    for path in (records_of, records_of / SPLIT, coco_data):
        assert doctor.main([str(path)]) == 0
        assert kinds(path) == {}
    assert "boxes" in capsys.readouterr().out


def test_prepared_mpii_is_sound(shared, tmp_path):
    prepare.prepare_mpii(shared / "real" / "mpii_five", tmp_path)
    assert kinds(tmp_path / "valid") == {}


def shard(split: pathlib.Path) -> pathlib.Path:
    return next((split / "photos" / "1.0.0").glob("*array_record*"))


def record_flipped(split, rng):
    content = bytearray(shard(split).read_bytes())
    for place in rng.integers(len(content) // 4, len(content) // 2, 20):
        content[place] ^= 0xFF
    shard(split).write_bytes(content)


def records_lost(split, rng):
    shard(split).unlink()


def records_cut(split, rng):
    content = shard(split).read_bytes()
    shard(split).write_bytes(content[: int(rng.integers(1, len(content)))])


def records_of_others(split, rng):
    shutil.copy(shard(split.parent / "train2017"), shard(split))


def table_cut(split, rng):
    path = split / str(rng.choice(["people.npz", "detections.npz"]))
    path.write_bytes(path.read_bytes()[: int(rng.integers(1, path.stat().st_size - 50))])


def table_of_others(split, rng):
    table = dict(np.load(split / "people.npz"))
    rows = rng.permutation(len(table["box"]))
    np.savez_compressed(split / "people.npz", **(table | {"joints": table["joints"][rows]}))


def people_lost(split, rng):
    table = dict(np.load(split / "people.npz"))
    rows = np.sort(rng.choice(len(table["box"]), len(table["box"]) // 2, replace=False))
    np.savez_compressed(split / "people.npz", **{name: column[rows] for name, column in table.items()})


def annotations_cut(split, rng):
    path = split / "annotations.json"
    path.write_bytes(path.read_bytes()[: int(rng.integers(1, path.stat().st_size))])


def annotations_swapped(split, rng):
    content = json.loads((split / "annotations.json").read_text())
    damages.swapped_pairs(content, rng)
    (split / "annotations.json").write_text(json.dumps(content))


def summary_lost(split, rng):
    (split / "summary.json").unlink()


def sigmas_lost(split, rng):
    content = json.loads((split / "skeleton.json").read_text())
    del content["sigmas"]
    (split / "skeleton.json").write_text(json.dumps(content))


def pixels_cut(split, rng):
    path = split / "decoded.rgb"
    path.write_bytes(path.read_bytes()[: int(rng.integers(1, path.stat().st_size))])


def pixel_flipped(split, rng):
    with (split / "decoded.rgb").open("r+b") as file:
        place = int(rng.integers((split / "decoded.rgb").stat().st_size))
        file.seek(place)
        (value,) = file.read(1)
        file.seek(place)
        file.write(bytes([value ^ 1 << int(rng.integers(8))]))


UNREADABLE = ("split_refused", "records_damaged")
SPLITS = {
    "record flipped": damages.Damage(record_flipped, "photos_damaged", UNREADABLE),
    "records lost": damages.Damage(records_lost, "records_damaged", UNREADABLE),
    "records cut": damages.Damage(records_cut, "photos_damaged", UNREADABLE),
    "records of others": damages.Damage(records_of_others, "photos_damaged", UNREADABLE),
    "table cut": damages.Damage(table_cut, "table_damaged", UNREADABLE),
    "table of others": damages.Damage(table_of_others, "tables_differ"),
    "people lost": damages.Damage(people_lost, "counts", UNREADABLE),
    "annotations cut": damages.Damage(annotations_cut, "annotations_unreadable", UNREADABLE),
    "annotations swapped": damages.Damage(annotations_swapped, "sides_swapped", ("tables_differ",)),
    "summary lost": damages.Damage(summary_lost, "split_unfinished"),
    "sigmas lost": damages.Damage(sigmas_lost, "sigmas", UNREADABLE),
    "pixel flipped": damages.Damage(pixel_flipped, "pixels_damaged"),
    "pixels cut": damages.Damage(pixels_cut, "pixels_damaged"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SPLITS)
def test_damaged_splits(records_of, tmp_path, name, seed):
    shutil.copytree(records_of, tmp_path / "out")
    SPLITS[name].plant(tmp_path / "out" / SPLIT, generator(name, seed))
    check(kinds(tmp_path / "out" / SPLIT), SPLITS[name])


@pytest.fixture(scope="module")
def run(records_of, tmp_path_factory) -> pathlib.Path:
    """A run directory as train.py leaves it: 3 epochs of 2 steps."""
    config = default.get_config()
    config.image_size, config.data.dir, config.log_every, config.epochs = (32, 32), str(records_of), 1, 3
    config.model.update(width=4, units=(1, 1, 1), blocks=1, norm_group_size=0)
    count = len(records.open_split(records_of / "train2017").people)
    config.batch_size = count // 2
    workdir = tmp_path_factory.mktemp("runs") / "run"
    workdir.mkdir()
    directory.claim(workdir, config)
    splits = [records.open_split(records_of / name) for name in ("train2017", SPLIT)]
    manifest.add(workdir, {"data": {split.name: manifest.digest(split) for split in splits}})
    normal = np.random.default_rng(0).normal
    parts = ("params", "batch_stats", "opt_state")
    state = {name: {"array": jax.numpy.asarray(normal(size=(64, 64)), np.float32)} for name in parts}
    saved, log = checkpoint.Checkpoints(workdir, checkpoint.describe(config)), logger.Logger(workdir, 0)
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


def test_a_run_is_sound(run, capsys):
    assert kinds(run) == {}
    assert doctor.main([str(run)]) == 0
    assert "3 of 3 can be read" in capsys.readouterr().out


def rewrite_lines(run, change):
    path = run / "metrics.jsonl"
    path.write_text(change(path.read_text()))


def log_cut(run, rng):
    rewrite_lines(run, lambda text: text[: -int(rng.integers(2, 10))])


def log_damaged(run, rng):
    rewrite_lines(run, lambda text: text.replace('"loss"', "\0\0\0", 1))


def log_gap(run, rng):
    row = int(rng.integers(3))
    rewrite_lines(run, lambda text: "".join(text.splitlines(True)[:row] + text.splitlines(True)[row + 2 :]))


def log_twice(run, rng):
    rewrite_lines(run, lambda text: text + text)


def log_not_finite(run, rng):
    rewrite_lines(run, lambda text: text.replace("0.5,", "NaN,", 1))


def log_lost(run, rng):
    (run / "metrics.jsonl").unlink()


def config_cut(run, rng):
    path = run / "config.json"
    path.write_bytes(path.read_bytes()[: int(rng.integers(1, path.stat().st_size - 2))])


def config_poor(run, rng):
    content = json.loads((run / "config.json").read_text())
    del content[str(rng.choice(["skeleton", "data", "batch_size"]))]
    (run / "config.json").write_text(json.dumps(content))


def config_elsewhere(run, rng):
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"train2017"', '"train2099"'))


def other_batches(run, rng):
    content = json.loads((run / "config.json").read_text())
    content["batch_size"] = 1
    (run / "config.json").write_text(json.dumps(content))


def other_people(run, rng):
    path = run / "manifest.json"
    content = json.loads(path.read_text())
    content["starts"][0]["data"][["train2017", SPLIT][int(rng.integers(2))]] = "0"
    path.write_text(json.dumps(content))


def manifest_cut(run, rng):
    path = run / "manifest.json"
    path.write_text(path.read_text()[: -int(rng.integers(4, 40))])


def checkpoint_file(run, rng):
    """The file of a checkpoint that holds its arrays."""
    folders = sorted(run.glob("checkpoints/*/*/state"))
    files = folders[int(rng.integers(len(folders)))].rglob("d/*")
    return max(files, key=lambda path: path.stat().st_size)


def checkpoint_cut(run, rng):
    path = checkpoint_file(run, rng)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def checkpoint_lost(run, rng):
    checkpoint_file(run, rng).unlink()


def checkpoint_nameless(run, rng):
    next(run.glob("checkpoints/*/*/meta/metadata")).write_text("{")


RUNS = {
    "log cut": damages.Damage(log_cut, "log_cut", ("log_gap", "log_short")),
    "log damaged": damages.Damage(log_damaged, "log_damaged", ("log_gap",)),
    "log gap": damages.Damage(log_gap, "log_gap"),
    "log twice": damages.Damage(log_twice, "log_order"),
    "log not finite": damages.Damage(log_not_finite, "log_not_finite"),
    "log lost": damages.Damage(log_lost, "log_missing"),
    "config cut": damages.Damage(config_cut, "config"),
    "config poor": damages.Damage(config_poor, "config"),
    "config elsewhere": damages.Damage(config_elsewhere, "data_unavailable"),
    "other batches": damages.Damage(other_batches, "data_changed"),
    "other people": damages.Damage(other_people, "data_changed"),
    "manifest cut": damages.Damage(manifest_cut, "manifest"),
    "checkpoint cut": damages.Damage(checkpoint_cut, "checkpoint_damaged"),
    "checkpoint lost": damages.Damage(checkpoint_lost, "checkpoint_damaged"),
    "checkpoint nameless": damages.Damage(checkpoint_nameless, "checkpoint_damaged"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RUNS)
def test_damaged_runs(run, tmp_path, name, seed):
    shutil.copytree(run, tmp_path / "run")
    RUNS[name].plant(tmp_path / "run", generator(name, seed))
    check(kinds(tmp_path / "run"), RUNS[name])


def test_a_checkpoint_put_aside_is_only_noted(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    folder = max((tmp_path / "run").glob("checkpoints/last/*"))
    folder.rename(folder.with_suffix(checkpoint.DAMAGED))
    assert kinds(tmp_path / "run") == {"checkpoint_aside": "note"}


def test_the_report_for_programs(made_up, tmp_path):
    content = annotations(made_up)
    damages.people_twice(content, generator("report", 0))
    root = like(tmp_path / "root", made_up, content)
    assert doctor.main([str(root), "--json", str(tmp_path / "report.json")]) == doctor.FINDINGS
    report = json.loads((tmp_path / "report.json").read_text())
    (finding,) = report["findings"]
    assert not report["sound"] and report["counts"] == {"error": 0, "warning": 1, "note": 0}
    assert finding["kind"] == "people_twice" and finding["split"] == SPLIT and finding["count"] > 5
    assert len(finding["examples"]) == 5 and finding["examples"][0] in {p["id"] for p in content["annotations"]}
    assert finding["file"].endswith(f"person_keypoints_{SPLIT}.json")


def test_files_without_use_are_only_noted(made_up, tmp_path, capsys):
    root = like(tmp_path / "root", made_up, annotations(made_up))
    (root / "images" / SPLIT).unlink()
    shutil.copytree(made_up / "images" / SPLIT, root / "images" / SPLIT)
    (root / "images" / SPLIT / "other.jpg").write_bytes(b"")
    assert doctor.main([str(root)]) == 0
    assert "NOTE photos_unlisted: 1 files" in capsys.readouterr().out


def test_what_cannot_be_examined_is_a_mistake_of_the_user(tmp_path, made_up):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        doctor.main([str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match="is neither a data set"):
        doctor.main([str(tmp_path)])
    with pytest.raises(ValueError, match="must be a file"):
        doctor.main([str(made_up), "--detections", str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="neither a file nor one of"):
        doctor.main([str(made_up), "--skeleton", "horse"])


@pytest.mark.parametrize(
    "categories",
    [3, True, "person", [{"id": [1], "name": "x"}], [{"id": 1, "name": ["x"]}], [{"id": 1, "name": {}}], [[1]]],
)
def test_categories_of_any_kind(made_up, tmp_path, categories):
    root = like(tmp_path / "root", made_up, annotations(made_up) | {"categories": categories})
    assert "categories" in kinds(root) and "not_examined" not in kinds(root)


@pytest.mark.parametrize("names", [[[1]] * 17, [1] * 17, None])
def test_names_of_keypoints_of_any_kind(made_up, tmp_path, names):
    content = annotations(made_up)
    content["categories"][0]["keypoints"] = names
    assert set(kinds(like(tmp_path / "root", made_up, content))) == {"annotations_refused"}


@pytest.mark.parametrize("marks", [None, [[1]]])
def test_flags_that_nobody_needs(shared, tmp_path, marks):
    base = shared / "real" / "mpii_five"
    rows = json.loads((base / "annot" / "valid.json").read_text())
    (tmp_path / "annot").mkdir()
    unlabelled = [{name: row[name] for name in ("image", "center", "scale")} for row in rows]
    content = [row | {"joints_vis": marks} for row in unlabelled]
    (tmp_path / "annot" / "test.json").write_text(json.dumps(content))
    (tmp_path / "images").symlink_to(base / "images")
    assert kinds(tmp_path) == {}


def test_a_skeleton_without_end(made_up, tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    assert kinds(made_up, skeleton=str(path)) == {"skeleton": "error"}


@pytest.mark.parametrize("topic", ["coco_files.read", "people.twice", "sides.examine", "colours.examine"])
def test_an_unforeseen_error_is_a_finding(made_up, monkeypatch, topic):
    def fail(*_, **__):
        raise KeyError("unforeseen")

    monkeypatch.setattr(f"hrnet_jax.doctor.{topic}", fail)
    assert kinds(made_up) == {"not_examined": "error"}


def test_an_unforeseen_error_in_a_prepared_split_is_a_finding(records_of, monkeypatch):
    monkeypatch.setattr("hrnet_jax.doctor.prepared._agree", lambda *_: 1 / 0)
    assert kinds(records_of / SPLIT) == {"not_examined": "error"}


def test_names_do_nothing_to_the_terminal(made_up, tmp_path, capsys):
    for row, name in enumerate(["\x1b[2J\nsound\n", "\x9b2J\u202e", "\ud800", "x" * 2_000_000]):
        content = annotations(made_up) | {"categories": [{"id": 1, "name": name}]}
        assert doctor.main([str(like(tmp_path / str(row), made_up, content))]) == doctor.FINDINGS
        printed = capsys.readouterr().out
        assert len(printed) < 5000 and printed.replace("\n", "").isprintable() and "\nsound" not in printed


def test_the_report_needs_a_place(made_up, tmp_path):
    for path in (tmp_path, tmp_path / "nowhere" / "report.json"):
        with pytest.raises(ValueError, match=r"`json` .* cannot be written"):
            doctor.main([str(made_up), "--json", str(path)])


def test_one_box_over_the_border_makes_no_corners():
    ids, size = np.arange(8), np.full((8, 2), 480.0)
    box = np.array([[40.0, 30.0, 400.0, 430.0]] * 8)
    box[0, 2] = 454
    assert [finding.kind for finding in people.boxes(ids, box, size)] == ["boxes_outside"]


def test_areas_count_the_pixels_at_both_ends(made_up, tmp_path):
    content = annotations(made_up)
    for person in content["annotations"]:
        person["area"] = (round(person["bbox"][2]) + 1) * (round(person["bbox"][3]) + 1)
    assert kinds(like(tmp_path / "root", made_up, content)) == {}


def test_annotated_boxes_are_no_dummy(made_up, tmp_path):
    content = annotations(made_up)
    boxes = [{name: p[name] for name in ("image_id", "category_id", "bbox")} for p in content["annotations"]]
    root = like(tmp_path / "root", made_up, content, [box | {"score": 1.0} for box in boxes])
    assert kinds(root) == {"detections_annotated": "note"}


def test_many_people_on_one_photo_take_no_time():
    count, skeleton = 2000, damages.COCO
    place = np.arange(count) % 50
    row = ([0, 0, 60, 60], 900, False, np.tile([30, 30, 2], (skeleton.num_joints, 1)))
    table = tables.people([(number, 1, *row) for number in range(count)], skeleton.num_joints)
    table.box[:, 0] = 100 * place
    table.joints[..., 0] += 100 * place[:, None]
    started = time.process_time()
    (finding,) = people.twice(table, skeleton)
    assert finding.count == count - 50 and time.process_time() - started < 2


def test_sides_are_read_however_they_are_spelled():
    sides = {
        "left_eye": "right_eye",
        "LEFT_EYE": "RIGHT_EYE",
        "LeftEye": "RightEye",
        "foot_left_1": "foot_right_1",
    }
    sides |= {
        "L_Eye": "R_Eye",
        "lEye": "rEye",
        "eye.L": "eye.R",
        "eyeL": "eyeR",
        "Lelbow": "Relbow",
        "lhip": "rhip",
    }
    sides |= {"left_foot_right_toe": "right_foot_left_toe"}
    sides |= {other: one for one, other in sides.items()}
    assert {name: joint_names.mirrored(name, sides) for name in sides} == sides
    middle = ("collar", "lip", "L5", "upright", "bright_spot", "cleft", "rib")
    assert [joint_names.mirrored(name, middle) for name in middle] == list(middle)
    names = (*middle, "kneeL", "kneeR", "R.Hip", "L.Hip")
    skeleton = dataclasses.replace(COCO, joints=names, flip_pairs=(), sigmas=(0.05,) * 11, limbs=(), upper_body=())
    assert joint_names.usual(skeleton)[7:] == ("left_knee", "right_knee", "right_hip", "left_hip")
    assert joint_names.usual(skeleton)[:7] == tuple(name.lower() for name in middle)


def test_a_server_s_split_is_sound(made_up, tmp_path):
    root = like(tmp_path / "root", made_up, annotations(made_up))
    content = annotations(made_up)
    people_file = root / "annotations" / f"person_keypoints_{SPLIT}.json"
    people_file.unlink()
    images = {"images": content["images"], "categories": [{"id": 1, "name": "person"}]}
    people_file.with_name(f"image_info_{SPLIT}.json").write_text(json.dumps(images))
    prepare.prepare_coco(root, tmp_path / "out", [SPLIT], made_up / BOXES)
    assert kinds(tmp_path / "out") == {}


def test_photos_of_dropped_people_are_sound(shared, tmp_path):
    base = shared / "real" / "mpii_five"
    rows = json.loads((base / "annot" / "valid.json").read_text())
    rows[0]["center"] = [-1, -1]
    (tmp_path / "annot").mkdir()
    (tmp_path / "images").symlink_to(base / "images")
    for split in ("valid", "trainval"):
        (tmp_path / "annot" / f"{split}.json").write_text(json.dumps(rows))
    prepare.prepare_mpii(tmp_path, tmp_path / "out", ["valid", "trainval"])
    assert kinds(tmp_path / "out") == {}


def rewrite_config(run, **changes):
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(content | changes))


ODD_CONFIGS = [
    {"batch_size": 0}, {"batch_size": "x"}, {"log_every": 0}, {"log_every": "x"}, {"epochs": "x"},
    {"skeleton": 3}, {"skeleton": ["coco"]}, {"data": None}, {"accumulation": 2.5}, {"loader": {"threads": -1}},
    {"data": {"dir": 3, "train_split": "a", "val_split": "a"}},
    {"data": {"dir": "x", "train_split": ["a"], "val_split": "a"}}, {"seed": {}}, {"seed": {"a": 1}}, {"eval": 5},
    {"loader": None}, {"model": []}, {"model": "hrnet"}, {"model": {"width": {}}}, {"eval": {"batch_size": 0}},
]  # fmt: skip


@pytest.mark.parametrize("changes", ODD_CONFIGS, ids=str)
def test_configs_of_any_kind(run, tmp_path, changes):
    shutil.copytree(run, tmp_path / "run")
    rewrite_config(tmp_path / "run", **changes)
    assert kinds(tmp_path / "run") == {"config": "error"}


@pytest.mark.parametrize("file", ["config.json", "manifest.json"])
def test_run_files_without_end(run, tmp_path, file):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / file).write_text("[" * 100_000)
    assert set(kinds(tmp_path / "run")) == {pathlib.Path(file).stem}


@pytest.mark.parametrize(
    "line", ['{"step": 1e400}', f'{{"step": {10**30}}}', "[" * 100_000, "3", '{"step": true}']
)
def test_lines_of_any_kind(run, tmp_path, line):
    shutil.copytree(run, tmp_path / "run")
    rewrite_lines(tmp_path / "run", lambda text: f"{line}\n{text}")
    assert kinds(tmp_path / "run") == {"log_damaged": "warning"}


def test_a_manifest_of_other_data(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_text('{"starts": [{"data": [1]}]}')
    assert kinds(tmp_path / "run") == {"manifest": "warning"}


def test_a_checkpoint_of_no_network(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last" / "\u00b2").mkdir()
    assert kinds(tmp_path / "run") == {"checkpoint_partial": "note"}
    path = max((tmp_path / "run").glob("checkpoints/last/*/meta/metadata"))
    content = json.loads(path.read_text())
    content["network"]["joints"] = 3
    path.write_text(json.dumps({name: value for name, value in content.items() if "digest" not in name}))
    assert kinds(tmp_path / "run") == {"checkpoint_damaged": "error", "checkpoint_partial": "note"}


def test_a_run_that_has_just_begun_is_sound(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert kinds(tmp_path / "run") == {"checkpoints_none": "note"}


def test_a_log_that_going_on_would_clear_is_to_be_copied(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    _, parts = doctor.examine(tmp_path / "run")
    (finding,) = (finding for part in parts for finding in part.findings)
    assert (finding.kind, finding.severity) == ("checkpoints_none", "warning")
    assert finding.remedy.startswith("copy this directory first") and "clears its log" in finding.remedy


def test_pipes_in_a_run_are_not_waited_for(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    os.mkfifo(tmp_path / "run" / "manifest.json")
    assert kinds(tmp_path / "run") == {"manifest": "warning"}


def test_a_report_that_is_there_stays_until_there_is_another(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        doctor.main([str(tmp_path / "gone"), "--json", str(tmp_path / "report.json")])
    assert (tmp_path / "report.json").read_text() == "{}"


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
def test_gaps_of_the_log(tmp_path, steps, starts, found):
    (tmp_path / "manifest.json").write_text(json.dumps({"starts": [{"step": step} for step in starts]}))
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {step}, "loss": 1}}\n' for step in steps))
    (tmp_path / "config.json").write_text(json.dumps(default.get_config().to_dict() | {"log_every": 1}))
    findings = [finding for part in run_directories.examine(tmp_path) for finding in part.findings]
    assert [step for finding in findings if finding.kind == "log_gap" for step in finding.examples] == found


def test_annotations_that_are_none(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    assert set(kinds(tmp_path)) == {"annotations_missing"}
    for text in ("", "[]", "{", "{}", '{"images": 3, "annotations": []}'):
        (folder / "person_keypoints_train.json").write_text(text)
        assert set(kinds(tmp_path)) == {"annotations_unreadable"}


def test_photos_that_are_nowhere(made_up, tmp_path):
    root = like(tmp_path / "root", made_up, annotations(made_up))
    (root / "images" / SPLIT).unlink()
    assert set(kinds(root)) == {"photos_unavailable"}
