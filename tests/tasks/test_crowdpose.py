"""Bottom-up pose estimation on CrowdPose and COCO's test-dev, from files in their form to metrics and results."""

import functools
import itertools
import json
import pathlib

import jax
import numpy as np
import pytest
import reference

from configs import demo_bottom_up, higher_hrnet
from hrnet_jax import prepare, sharding, skeletons, tasks
from hrnet_jax.bottom_up import inference
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import crowdpose
from hrnet_jax.skeletons import COCO
from hrnet_jax.tasks import photos

SKELETON = skeletons.load("crowdpose")
INDEX = {"easy": 0.1, "medium": 0.5, "hard": 0.9}
TINY = {
    "image_size": (64, 64),
    "model.width": 4,
    "model.stem": 4,
    "model.units": (1, 0, 0),
    "model.blocks": 1,
    "model.norm_group_size": 0,
    "batch_size": 4,
    "eval.batch_size": 4,
    "loader.threads": 0,
}


def as_crowdpose(content: dict) -> dict:
    """Returns the content of a COCO file in CrowdPose's form: 14 joints, no areas, a crowd index of each photo."""
    images = [image | {"crowdIndex": list(INDEX.values())[row % 3]} for row, image in enumerate(content["images"])]
    order = [COCO.joints.index(name) for name in SKELETON.joints[:-2]]
    shoulders, people = order[:2], []
    for entry in content["annotations"]:
        joints = np.array(entry["keypoints"], float).reshape(-1, 3)
        neck = joints[shoulders].mean(axis=0) * (joints[shoulders, 2].min() > 0)
        keypoints = np.concatenate([joints[order], joints[:1], [neck]])
        kept = {name: entry[name] for name in ("id", "image_id", "category_id", "bbox", "iscrowd")}
        count = int((keypoints[:, 2] > 0).sum())
        people.append(kept | {"keypoints": keypoints.ravel().tolist(), "num_keypoints": count})
    joints = ["head" if name == "head_top" else name for name in SKELETON.joints]
    category = {"id": 1, "name": "person", "keypoints": joints, "skeleton": []}
    return {"images": images, "annotations": people, "categories": [category]}


@pytest.fixture(scope="module")
def data(made_up_records, tmp_path_factory) -> pathlib.Path:
    """Made-up people as CrowdPose, prepared by the command."""
    root, coco = tmp_path_factory.mktemp("crowdpose"), made_up_records.parent / "photos"
    (root / "annotations").mkdir()
    (root / "images").mkdir()
    for split, of_coco in {"trainval": "train2017", "test": "val2017"}.items():
        content = json.loads((coco / "annotations" / f"person_keypoints_{of_coco}.json").read_text())
        (root / "annotations" / f"crowdpose_{split}.json").write_text(json.dumps(as_crowdpose(content)))
        for photo in (coco / "images" / of_coco).iterdir():
            (root / "images" / photo.name).write_bytes(photo.read_bytes())
    prepare.main(["crowdpose", "--root", str(root), "--out", str(root / "records")])
    return root / "records"


@pytest.fixture
def config(data):
    config = higher_hrnet.get_config("w32_512_crowdpose")
    config.update_from_flattened_dict(TINY | {"data.dir": str(data)})
    return config


def annotated(split: records.Split, photo_ids: list[int]) -> list[inference.People]:
    """The people of the ground truth as found by a network, on some photos of a split."""
    content, found = json.loads(split.annotations.read_text()), []
    for image in content["images"]:
        on_photo = [each for each in content["annotations"] if each["image_id"] == image["id"]]
        people = [each["keypoints"] for each in on_photo if image["id"] in photo_ids]
        joints = np.array(people, np.float32).reshape(-1, split.skeleton.num_joints, 3)
        ones = np.ones(joints.shape[:2], np.float32)
        found.append(inference.People(joints[..., :2], ones, ones[..., None], ones.mean(1), ones > 1))
    return found


def photo_ids(split: records.Split) -> dict[str, list[int]]:
    """The ids of easy, medium and hard photos."""
    images = json.loads(split.annotations.read_text())["images"]
    return {kind: [each["id"] for each in images if each["crowdIndex"] == index] for kind, index in INDEX.items()}


def test_a_step_trains_14_joints(config):
    task = tasks.build(config)
    examples = task.examples()
    batches = examples.batches(0)
    batch = next(batches)
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert batch["joints"].shape[3] == batch["visible"].shape[2] == SKELETON.num_joints == 14
    variables = reference.seeded_variables(task.shapes(), np.float32)
    gradients, (_, terms) = jax.jit(jax.grad(task.loss, has_aux=True))(
        variables["params"], variables["batch_stats"], {name: batch[name] for name in task.inputs()}
    )
    assert all(np.isfinite(terms[name]) and terms[name] > 0 for name in ("heat_0", "push_0", "pull_0", "heat_1"))
    assert all(np.isfinite(gradient).all() for gradient in jax.tree.leaves(gradients))
    shapes = {
        jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
    }
    heads = sorted(shape for name, shape in shapes.items() if "final_layers" in name and "bias" in name)
    assert heads == [(14,), (28,)]


@pytest.mark.parametrize("kind", [*INDEX, "all"])
def test_average_precision_is_of_the_photos_on_which_people_are_found(config, monkeypatch, kind):
    evaluation = tasks.build(config).evaluation(trained=True)
    by_kind = photo_ids(evaluation.split)
    chosen = [*itertools.chain(*by_kind.values())] if kind == "all" else by_kind[kind]
    found = annotated(evaluation.split, chosen)
    monkeypatch.setattr(photos.PhotoEvaluation, "_find_people", lambda *_: found)
    metrics = evaluation.metrics({}, dict)
    assert [name.removeprefix("test/whole_photos/") for name in metrics] == [*crowdpose.METRICS]
    for other in INDEX:
        expected = 1 if kind in (other, "all") else 0
        assert metrics[f"test/whole_photos/AP_{other}"] == pytest.approx(expected, abs=1e-3)
    for name in ("AP", "AP50", "AP75", "AR"):
        value = metrics[f"test/whole_photos/{name}"]
        assert value == pytest.approx(1, abs=1e-3) if kind == "all" else 0 < value < 1


def test_a_network_is_evaluated_by_the_photo(config, tmp_path, capsys):
    task = tasks.build(config)
    mesh, evaluation = sharding.make_mesh(jax.devices()[:2]), task.evaluation(trained=False)
    variables = sharding.place_state(reference.seeded_variables(task.shapes(), np.float32), mesh)
    place = functools.partial(sharding.place_batch, mesh=mesh)
    predictions = evaluation.predict(variables, place, progress=False)
    evaluation.write(predictions, variables, tmp_path, None)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert all(0 <= metrics[f"test/whole_photos/{name}"] <= 1 for name in crowdpose.METRICS)
    (outcome,) = predictions
    assert outcome.results and len(outcome.results[0]["keypoints"]) == 3 * SKELETON.num_joints
    assert "AP easy" in capsys.readouterr().out


def test_people_who_are_not_found_are_errors_of_the_page(config, monkeypatch, tmp_path):
    evaluation = tasks.build(config).evaluation(trained=False)
    by_kind = photo_ids(evaluation.split)
    count = len(evaluation.split.people)
    for name, chosen in {"some": by_kind["easy"], "none": []}.items():
        found = annotated(evaluation.split, chosen)
        monkeypatch.setattr(photos.PhotoEvaluation, "_find_people", lambda *_, found=found: found)
        evaluation.write(evaluation.predict({}, dict, progress=False), {}, tmp_path / name, None)
        metrics, missed = json.loads((tmp_path / name / "metrics.json").read_text()), "errors/false_negative/count"
        left = count - sum(len(people.scores) for people in found)
        assert left and metrics[f"test/whole_photos/analysis/{missed}"] == left
        text = (tmp_path / name / "report.html").read_text()
        assert "Whole photos" in text and "a person not found" in text and "data:image/jpeg" in text


# COCO's test-dev


def test_photos_without_annotations_have_a_result_file(made_up_records, tmp_path, capsys):
    coco = made_up_records.parent / "photos"
    content = json.loads((coco / "annotations" / "person_keypoints_val2017.json").read_text())
    root = tmp_path / "root"
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "images" / "test2017").symlink_to(coco / "images" / "val2017")
    category = {"id": 1, "name": "person"}
    info = {"images": content["images"], "categories": [category]}
    (root / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(info))
    prepare.main(
        [
            *("coco", "--root", str(root), "--out", str(tmp_path / "records"), "--splits", "test-dev2017"),
            "--follow-links",
        ]
    )
    config = demo_bottom_up.get_config()
    config.update_from_flattened_dict(TINY | {"data.dir": str(tmp_path / "records")})
    config.data.val_split = "test-dev2017"
    task, mesh = tasks.build(config), sharding.make_mesh()
    evaluation = task.evaluation(trained=False)
    assert not evaluation.is_scored and len(evaluation) == len(content["images"])
    variables = sharding.place_state(reference.seeded_variables(task.shapes(), np.float32), mesh)
    place = functools.partial(sharding.place_batch, mesh=mesh)
    evaluation.write(evaluation.predict(variables, place, progress=False), {}, tmp_path / "out", None)
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == "person_keypoints_test-dev2017_hrnet_results.json"
    results = json.loads(written.read_text())
    assert results and {*results[0]} == {"image_id", "category_id", "keypoints", "score"}
    assert {each["image_id"] for each in results} <= {image["id"] for image in content["images"]}
    assert str(written) in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"test-dev2017.*no annotated people"):
        task.evaluation(trained=True)
