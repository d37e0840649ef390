import contextlib
import dataclasses
import functools
import itertools
import json

import jax
import numpy as np
import pytest
import reference

from configs import demo, demo_bottom_up
from hrnet_jax import sharding, tasks
from hrnet_jax.bottom_up import augment, inference, losses, pipeline
from hrnet_jax.datasets import annotated_photos, masks, records
from hrnet_jax.models import layers
from hrnet_jax.run import setup
from hrnet_jax.skeletons import COCO
from hrnet_jax.tasks import photos

JOINTS = COCO.num_joints
TINY = {
    "image_size": (64, 64),
    "model.width": 4,
    "model.stem": 4,
    "model.units": (1, 0, 0),
    "model.norm_group_size": 0,
    "batch_size": 4,
    "eval.batch_size": 4,
    "loader.threads": 0,
    "seed": 3,
}


@pytest.fixture
def config(made_up_records):
    config = demo_bottom_up.get_config()
    config.update_from_flattened_dict(TINY | {"data.dir": str(made_up_records)})
    return config


def first_batches(examples, count: int, start: int = 0) -> list[pipeline.Batch]:
    with contextlib.closing(examples.batches(start)) as batches:
        return [*itertools.islice(batches, count)]


def test_batches_have_the_inputs_of_a_step(config):
    task = tasks.build(config)
    (batch,) = first_batches(task.examples(), 1)
    inputs = task.inputs()
    assert batch.keys() - {"index"} == inputs.keys()
    for name, expected in inputs.items():
        assert (batch[name].shape, batch[name].dtype) == (expected.shape, expected.dtype)


def test_batches_follow_the_configuration(config):
    config.update_from_flattened_dict({"augment.scale": (1.0, 1.2), "augment.rotation": 10.0, "augment.shift": 5})
    config.most_people, config.augment.flip = 2, 0.25
    examples = tasks.build(config).examples()
    policy, sizes = augment.Policy((1.0, 1.2), 10.0, 5, 0.25), pipeline.Sizes(64, (16, 32), 2)
    options = {"sizes": sizes, "policy": policy, "batch_size": 4, "seed": 3, "threads": 0}
    with contextlib.closing(pipeline.train_batches(examples.photos, **options)) as batches:
        expected = [*itertools.islice(batches, 4)]
    for one, other in zip(first_batches(examples, 2, start=2), expected[2:], strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in other)


def test_the_loss_is_the_sum_of_its_terms_at_both_resolutions(config):
    config.heatmap.sigma, config.tag_similarity, config.tag_factor = 1.5, "max", 0.5
    task = tasks.build(config)
    (batch,) = first_batches(task.examples(), 1)
    variables = reference.seeded_variables(task.shapes(), np.float32)
    loss, (stats, terms) = jax.jit(task.loss)(variables["params"], variables["batch_stats"], batch)
    image = layers.normalize(jax.numpy.asarray(batch["image"]))
    outputs, updates = task.model.apply(variables, image, train=True, mutable=["batch_stats"])
    labels = {name: jax.numpy.asarray(array) for name, array in batch.items()}
    expected, expected_terms = losses.batch_loss(outputs, labels, sigma=1.5, similarity="max", tag_factor=0.5)
    assert sorted(task.metrics) == sorted(["loss", *expected_terms])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(sum(terms.values()), loss, rtol=1e-5)
    for name, term in expected_terms.items():
        np.testing.assert_allclose(terms[name], term, rtol=1e-4, atol=1e-7)
    for one, other in zip(jax.tree.leaves(stats), jax.tree.leaves(updates["batch_stats"]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_network_without_deconvolution_has_one_heatmap(config):
    config.model.deconvolutions = 0
    task = tasks.build(config)
    assert task.metrics == ("loss", "heat_0", "push_0", "pull_0")
    shapes, inputs = task.shapes(), task.inputs()
    assert {"mask_0"} == {name for name in inputs if "mask" in name}
    jax.eval_shape(task.loss, shapes["params"], shapes["batch_stats"], inputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (64, 96)}, r"`image_size` \(=64, 96\) must be a square.*take \(64, 64\)"),
        ({"image_size": (72, 72)}, r"`image_size` .* must be .*multiple"),
        ({"tag_similarity": "cosine"}, r"`tag_similarity` \(='cosine'\) must be exp or max"),
        ({"augment.scale": (1.5, 0.75)}, r"augment: `scale` .* the lower first"),
        ({"heatmap.sigma": -1.0}, r"`heatmap.sigma` \(=-1.0\) must be positive"),
        ({"model.deconvolutions": 3}, r"`model.deconvolutions` \(=3\) must be 0, 1 or 2"),
        ({"augment.flip": 2.0}, r"augment: `flip` \(=2.0\) must be a probability"),
        ({"eval.scales": (0.5, 2.0)}, r"`scales` \(=\(0.5, 2.0\)\) must be .* among them 1"),
        ({"eval.scales": (0.75, 1.0)}, r"`scales` .* not multiples of 32"),
        ({"eval.tag_threshold": 0.0}, r"`tag_threshold` \(=0.0\) must be above 0"),
    ],
)
def test_wrong_fields_are_refused(config, changes, message):
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        tasks.build(config)


def test_networks_of_the_other_task_are_refused(config):
    config.task = "top_down"
    message = (
        r"`model.name` \(='higher_hrnet'\) finds all people .*`task` \(='top_down'\).*set `task` to 'bottom_up'"
    )
    for build in (tasks.build, setup.prepare):
        with pytest.raises(ValueError, match=message):
            build(config)
    config = demo.get_config()
    config.task = "bottom_up"
    message = (
        r"`model.name` \(='hrnet'\) finds one person .*`task` \(='bottom_up'\).*'top_down', or choose higher_hrnet"
    )
    for build in (tasks.build, setup.prepare):
        with pytest.raises(ValueError, match=message):
            build(config)


def test_examples_are_photos(config, made_up_records):
    examples = tasks.build(config).examples()
    split = records.open_split(made_up_records / "train2017")
    assert (examples.name, len(examples)) == ("train2017", len(split.photos))
    rows = np.array([2, 0])
    assert examples.identify(rows) == {"photo_ids": [split.photos[row]["photo_id"] for row in rows]}
    assert examples.digest() == annotated_photos.digest(split)
    assert "--decoded" in examples.loading_hint()


def test_photos_with_more_people_than_trained_on_are_told_once(config, capsys):
    tasks.build(config).examples()
    assert "note" not in capsys.readouterr().out
    config.most_people = 1
    counts = tasks.build(config).examples().photos.counts
    (line,) = capsys.readouterr().out.splitlines()
    more = (counts > 1).sum()
    assert line.startswith(
        f"note: {more} photos of train2017 have more than 1 people, up to {counts.max()}: the first"
    )


def test_every_process_loads_its_own_share(config, monkeypatch):
    examples = tasks.build(config).examples()
    (whole,) = first_batches(examples, 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    shares = []
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        shares += first_batches(examples, 1)
    np.testing.assert_array_equal(np.concatenate([share["index"] for share in shares]), whole["index"])


def test_pictures_have_a_row_for_each_photo(config):
    task = tasks.build(config)
    (batch,) = first_batches(task.examples(), 1)
    picture = task.picture(task.init(), batch)
    assert picture.dtype == np.uint8 and picture.shape == (3 * 284 + 6, 4 * 262 + 6, 3)


def test_a_step_may_be_computed_in_parts(config):
    config.batch_size, config.model.norm_group_size = 48, 12
    options = [*tasks.build(config).memory_options(1)]
    assert options == [{"model.remat": True}, *({"model.remat": True, "accumulation": parts} for parts in (2, 4))]


def test_the_description_names_network_and_joints(config):
    described = tasks.build(config).describe()
    assert (described["name"], described["width"], described["joints"]) == ("higher_hrnet", 4, [*COCO.joints])
    assert "HigherHRNet-W4" in tasks.build(config).title()


# Evaluation


def annotated(split: records.Split) -> list[inference.People]:
    """The people of the ground truth, as found by a network."""
    content = json.loads(split.annotations.read_text())
    found = []
    for image in content["images"]:
        people = [each["keypoints"] for each in content["annotations"] if each["image_id"] == image["id"]]
        joints = np.array(people, np.float32).reshape(-1, JOINTS, 3)
        ones = np.ones(joints.shape[:2], np.float32)
        found.append(inference.People(joints[..., :2], ones, ones[..., None], ones.mean(1), ones > 1))
    return found


def evaluate(config, monkeypatch, found: list[inference.People]) -> dict[str, float]:
    """The metrics if a network finds these people in the photos."""
    evaluation = tasks.build(config).evaluation(trained=True)
    monkeypatch.setattr(photos.PhotoEvaluation, "_find_people", lambda *_: found)
    return evaluation.metrics({}, dict)


def test_people_of_the_ground_truth_are_scored_perfect(config, monkeypatch, made_up_records):
    found = annotated(records.open_split(made_up_records / "val2017"))
    assert evaluate(config, monkeypatch, found)["val2017/whole_photos/AP"] == pytest.approx(1)
    none = [people._replace(**{name: column[:0] for name, column in people._asdict().items()}) for people in found]
    assert evaluate(config, monkeypatch, none)["val2017/whole_photos/AP"] == 0


def test_an_evaluation_is_named_and_counted_by_photos(config):
    evaluation = tasks.build(config).evaluation(trained=True)
    assert (evaluation.name, len(evaluation), evaluation.summary()) == ("val2017", 6, "6 photos")
    assert evaluation.logged_score == "val2017/whole_photos/AP" and evaluation.is_scored


@pytest.fixture(scope="module")
def found_alone(made_up_records):
    """The results of a network with seeded weights, a photo at a time on one device."""
    return results(made_up_records, batch_size=1, devices=1)


def results(data, batch_size: int, devices: int) -> list[dict]:
    config = demo_bottom_up.get_config()
    config.update_from_flattened_dict(TINY | {"data.dir": str(data), "eval.batch_size": batch_size})
    task, mesh = tasks.build(config), sharding.make_mesh(jax.devices()[:devices])
    variables = sharding.place_state(reference.seeded_variables(task.shapes(), np.float32), mesh)
    place = functools.partial(sharding.place_batch, mesh=mesh)
    (outcome,) = task.evaluation(trained=False).predict(variables, place, progress=False)
    return outcome.results


def test_boxes_are_around_the_joints_that_were_found(made_up_records):
    split = records.open_split(made_up_records / "val2017")
    joints = np.arange(2 * JOINTS, dtype=np.float32).reshape(1, JOINTS, 2)
    scores = np.ones((1, JOINTS), np.float32)
    scores[0, [0, -1]] = 0
    filled = np.arange(JOINTS)[None] == 1
    of_first = inference.People(joints, scores, np.zeros((1, JOINTS, 2)), np.ones(1), filled)
    nobody = inference.People(*(column[:0] for column in of_first))
    found = photos.table(split, [of_first] + [nobody] * (len(split.photos) - 1))
    np.testing.assert_array_equal(found.people.box, [[4, 5, 2 * (JOINTS - 4), 2 * (JOINTS - 4)]])


@pytest.mark.parametrize(("batch_size", "devices"), [(4, 1), (4, 4)])
def test_people_do_not_depend_on_batches_and_devices(made_up_records, found_alone, batch_size, devices):
    found = results(made_up_records, batch_size, devices)
    assert found_alone and [each["image_id"] for each in found] == [each["image_id"] for each in found_alone]
    for name in ("keypoints", "score"):
        one, other = ([each[name] for each in people] for people in (found, found_alone))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_several_checkpoints_are_refused(config):
    with pytest.raises(ValueError, match=r"`--checkpoint` names 2 checkpoints, but tags of different networks"):
        tasks.build(config).evaluation(trained=False).predict(({}, {}), dict, progress=False)


def test_data_sets_with_metrics_of_given_people_are_refused(config):
    evaluation = tasks.build(config).evaluation(trained=False)
    split = dataclasses.replace(evaluation.split, summary=evaluation.split.summary | {"published": "jhmdb"})
    with pytest.raises(ValueError, match=r"split 'val2017' is of jhmdb, whose metrics are of given people"):
        _ = dataclasses.replace(evaluation, split=split).score


def test_files_of_an_evaluation_are_written(config, monkeypatch, made_up_records, tmp_path, capsys):
    evaluation = tasks.build(config).evaluation(trained=False)
    found = annotated(records.open_split(made_up_records / "val2017"))
    monkeypatch.setattr(photos.PhotoEvaluation, "_find_people", lambda *_: found)
    evaluation.write(evaluation.predict({}, dict, progress=False), {}, tmp_path, None)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["val2017/whole_photos/AP"] == pytest.approx(1)
    assert len(json.loads((tmp_path / "results_val2017_whole_photos.json").read_text())) == sum(
        len(people.scores) for people in found
    )
    assert "Whole photos" in (tmp_path / "report.html").read_text()
    assert "val2017/whole_photos" in capsys.readouterr().out


def test_splits_without_masks_are_refused(config, made_up_records, tmp_path):
    (tmp_path / "train2017").mkdir()
    for file in (made_up_records / "train2017").iterdir():
        if file.name != masks.FILE:
            (tmp_path / "train2017" / file.name).symlink_to(file)
    config.data.dir = str(tmp_path)
    with pytest.raises(ValueError, match=r"train2017 has no masks.npz.*again, with --force"):
        tasks.build(config).examples()
