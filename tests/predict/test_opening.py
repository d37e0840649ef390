import dataclasses
import shutil
import subprocess
import sys

import made_predictor as made
import made_weights
import numpy as np
import pytest

import hrnet_jax
from hrnet_jax import checkpoint_files, inference, models, pipeline, sharding, skeletons
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate
from hrnet_jax.export import runtimes
from hrnet_jax.export.description import Settings
from hrnet_jax.predict import boxes, opening
from hrnet_jax.torch_interop import loading


@pytest.fixture(scope="module")
def predict(checkpoint):
    """A real network, which keeps duplicates."""
    return hrnet_jax.load(checkpoint, batch_size=8, nms_threshold=1.0)


@pytest.fixture(scope="module")
def evaluated():
    """Joints and scores as the evaluation predicts them."""
    config = made_weights.small_config(made.SIZE)
    mesh, model = sharding.make_mesh(), models.build(config)
    weights = loading.Weights("", made_weights.tensors(), {})
    loaded, _ = loading.initialize(made_weights.fresh(made_weights.TINY), weights, models.describe(config))
    variables, step = sharding.place_state(loaded, mesh), evaluate.build_step(model, config)

    def predict_people(split, people) -> tuple[np.ndarray, np.ndarray]:
        batches = pipeline.eval_batches(split, people, image_size=made.SIZE, batch_size=8)
        return inference.predict(
            step, variables, batches, len(people), lambda batch: sharding.place_batch(batch, mesh)
        )

    return predict_people


@pytest.mark.parametrize("source", ["people", "detections"])
def test_joints_equal_those_of_the_evaluation(predict, evaluated, shared, coco_data, source):
    root = shared / "real" / "coco_four"
    split = records.open_split(coco_data / "val2017", with_pixels=False)
    people = getattr(split, source)
    joints, scores = evaluated(split, people)
    files = {
        "people": root / "annotations" / "person_keypoints_val2017.json",
        "detections": root / "person_detection_results" / "COCO_val2017_detections_AP_H_56_person.json",
    }
    find, _ = boxes.open_finder(files[source], skeletons.COCO)
    photos, count = sorted((root / "images" / "val2017").glob("*.jpg")), 0
    with_boxes = dataclasses.replace(predict, find_boxes=find)
    for poses, photo in zip(with_boxes.stream(photos), photos, strict=True):
        rows = people.photo_id == int(photo.stem)
        np.testing.assert_array_equal(poses.boxes, people.box[rows].astype(np.float32))
        np.testing.assert_allclose(poses.joints, joints[rows], atol=1e-3, rtol=0)  # pixels of the photo
        np.testing.assert_allclose(poses.scores, scores[rows], atol=1e-5, rtol=0)
        count += len(poses)
    assert count == len(people) > 11


def test_batches_are_split_over_devices(predict):
    crops, maps = np.zeros((8, *made.SIZE, 3), np.uint8), np.zeros((8, 2, 3), np.float32) + np.eye(2, 3)
    joints, scores, heatmaps = predict.network.step(crops, maps.astype(np.float32))
    assert len(joints.sharding.device_set) == 4
    count = skeletons.COCO.num_joints
    assert joints.shape == (8, count, 2) and scores.shape == (8, count) and heatmaps.shape == (8, 16, 8, count)


def test_what_is_loaded_and_assumed_is_said(predict, checkpoint):
    assert predict.notes == (
        f"HRNet-W4, 17 joints (coco), 64x32, quarter decoder, flip test, from {checkpoint}",
        "assuming the 17 joints of 'coco'; otherwise give --skeleton",
        "assuming RGB input, as in the authors' release; otherwise give --colors",
        "assuming images of 64x32, from the name of the file; otherwise give --image_size",
        "boxes: each photo is taken as one person; for several people give --boxes DETECTOR.onnx or BOXES.json",
    )


@pytest.fixture
def run_directory(tmp_path):
    """A run directory with weights and settings that are not the default."""
    config = made_weights.small_config((96, 64))
    config.eval.update({"decoder": "dark", "flip_shift": 0.75})
    description = models.describe(config)
    best = tmp_path / "run" / "checkpoints" / "best"
    checkpoint_files.write_weights(best, made_weights.variables(description), description, {})
    (tmp_path / "run" / "config.json").write_text(config.to_json_best_effort())
    return tmp_path / "run"


@pytest.mark.parametrize("inside", ["", "checkpoints/best", "checkpoints/best/0"])
def test_a_run_says_itself_what_it_is(run_directory, inside):
    predict = hrnet_jax.load(run_directory / inside, batch_size=4)
    assert predict.network.image_size == (96, 64) and predict.network.skeleton == skeletons.COCO
    about, _ = predict.notes  # nothing is assumed
    assert about.startswith("HRNet-W4, 17 joints (coco), 96x64, dark decoder, flip test, from ")


def test_the_image_size_is_asked_for_where_it_cannot_be_known(checkpoint, tmp_path):
    unnamed = shutil.copy(checkpoint, tmp_path / "pose.safetensors")
    with pytest.raises(ValueError, match="does not tell the size of its images: give --image_size"):
        hrnet_jax.load(unnamed)
    assert hrnet_jax.load(unnamed, image_size=(96, 64)).network.image_size == (96, 64)
    assert hrnet_jax.load(checkpoint, image_size=(96, 64)).network.image_size == (96, 64)


def test_mistakes_are_said(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        hrnet_jax.load(tmp_path / "nowhere.pth")
    with pytest.raises(ValueError, match="17 joints, not 16"):
        hrnet_jax.load(checkpoint, skeleton="mpii")
    with pytest.raises(ValueError, match=r"`batch_size` \(=3\) must be a multiple of 4"):
        hrnet_jax.load(checkpoint, batch_size=3)
    with pytest.raises(ValueError, match=r"`dtype` \(='float8'\) must be one of"):
        hrnet_jax.load(checkpoint, dtype="float8")
    with pytest.raises(ValueError, match="must be multiples of 32"):
        hrnet_jax.load(checkpoint, image_size=(100, 64))


def test_the_batch_size_depends_on_the_kind_of_device(checkpoint):
    assert hrnet_jax.load(checkpoint).batch_size == 4 * opening.PEOPLE_PER_DEVICE["cpu"]


def test_an_exported_program_predicts(monkeypatch):
    def call(image, photo_to_crop):
        return made.Recorded()(image, photo_to_crop)[:2]

    program = runtimes.Program(call, Settings(skeletons.COCO, made.SIZE), runtimes.JOINTS, {})
    monkeypatch.setattr(runtimes, "open_program", lambda path: program)
    predict, photo = hrnet_jax.load("x.onnx", batch_size=4), made.noise(0)
    np.testing.assert_array_equal(predict(photo).joints, made.make_predictor()(photo).joints)
    assert predict.notes[0].startswith("exported program, 17 joints (coco), 64x32, quarter decoder")
    for option in ({"decoder": "dark"}, {"flip_test": False}, {"image_size": made.SIZE}, {"dtype": "bfloat16"}):
        (name,) = option
        with pytest.raises(ValueError, match=rf"x\.onnx has its own `{name}`: leave out --{name}"):
            hrnet_jax.load("x.onnx", **option)
    with pytest.raises(ValueError, match="exported programs give no heatmaps"):
        predict.results([photo], heatmaps=True)


def test_a_program_of_heatmaps_takes_another_decoder_and_flip_test(monkeypatch):
    calls = []

    def call(image):
        """Puts a peak of 2 at (3, 4) and one of 1 to its right, so that a quarter pixel decides."""
        calls.append(image)
        heatmaps = np.zeros(
            (len(image), made.SIZE[0] // 4, made.SIZE[1] // 4, skeletons.COCO.num_joints), np.float32
        )
        heatmaps[:, 4, 3], heatmaps[:, 4, 4] = 2, 1
        return heatmaps

    program = runtimes.Program(call, Settings(skeletons.COCO, made.SIZE), runtimes.HEATMAPS, {})
    monkeypatch.setattr(runtimes, "open_program", lambda path: program)
    joints, counts = {}, {}
    for decoder in ("quarter", "argmax"):
        predict = hrnet_jax.load("x.onnx", batch_size=4, flip_test=False, decoder=decoder)
        assert f"{decoder} decoder, no flip test" in predict.notes[0]
        joints[decoder] = predict(made.noise(0)).joints
        counts[decoder] = len(calls)
    assert counts == {"quarter": 1, "argmax": 2}  # the mirrored image would double them
    shift = joints["quarter"] - joints["argmax"]
    assert (shift[..., 0] > 0).all() and np.abs(shift[..., 1]).max() < 1e-3
    with pytest.raises(ValueError, match=r"`decoder` \(='best'\) is none of"):
        hrnet_jax.load("x.onnx", decoder="best")
    with pytest.raises(ValueError, match="has its own `dtype`"):
        hrnet_jax.load("x.onnx", dtype="bfloat16")


def test_programs_need_no_flax():
    program = "import sys; sys.modules['flax'] = None; from hrnet_jax.predict import opening"
    subprocess.run([sys.executable, "-c", program], check=True)
