import json
import shutil

import made_weights
import numpy as np
import pytest
from made_predictor import noise, write_photo

import hrnet_jax
from configs import demo_bottom_up
from hrnet_jax import checkpoint_files, models, skeletons
from hrnet_jax.bottom_up import inference
from hrnet_jax.export import runtimes
from hrnet_jax.export.description import HEADS, Settings
from hrnet_jax.predict import job, sources
from hrnet_jax.predict.options import Options
from hrnet_jax.predict.photo_predictor import PhotoPredictor
from hrnet_jax.torch_interop import loading


@pytest.fixture(scope="module")
def higher(tmp_path_factory):
    """A tiny HigherHRNet in a file named as the authors name theirs."""
    path = tmp_path_factory.mktemp("weights") / "pose_higher_hrnet_w4_128.safetensors"
    return made_weights.file(path, made_weights.tensors(made_weights.HIGHER))


@pytest.fixture
def run_directory(tmp_path):
    """A run directory with settings that are not the default."""
    config = demo_bottom_up.get_config()
    config.image_size = (64, 64)
    config.model.update({"width": 4, "stem": 4, "units": (1, 1, 1), "blocks": 1})
    config.eval.update({"refine": False, "tag_threshold": 0.5, "most_people": 40, "flip_test": False})
    description = models.describe(config)
    best = tmp_path / "run" / "checkpoints" / "best"
    checkpoint_files.write_weights(best, made_weights.variables(description), description, {})
    (tmp_path / "run" / "config.json").write_text(config.to_json_best_effort())
    return tmp_path / "run"


def test_a_bottom_up_checkpoint_needs_no_boxes(higher):
    predict = hrnet_jax.load(higher)
    assert isinstance(predict, PhotoPredictor) and predict.skeleton == skeletons.COCO
    assert predict.network.settings == inference.Settings(input_size=128)
    assert predict.notes == (
        "HigherHRNet-W4, 17 joints (coco), whole photos, short side 128, flip test, missing joints filled,"
        f" from {higher}",
        "assuming the 17 joints of 'coco'; otherwise give --skeleton",
        "assuming RGB input, as in the authors' release; otherwise give --colors",
        "assuming images of 128, from the name of the file; otherwise give --image_size",
        "boxes: not needed, the network finds everyone",
    )


def test_poses_are_those_of_the_inference(higher):
    predict, photo = hrnet_jax.load(higher, batch_size=4, joint_threshold=0.0), noise(3, 70, 90)
    settings = predict.network.settings
    variables = made_weights.variables(made_weights.HIGHER)
    forward = inference.compile_forward(loading.build(made_weights.HIGHER), settings)
    people = inference.predict_photo(forward, variables, photo, settings)
    poses = predict(photo)
    assert len(poses) == len(people.scores) > 0
    np.testing.assert_allclose(poses.scores, people.joint_scores, atol=1e-4)
    np.testing.assert_allclose(poses.box_scores, people.scores, atol=1e-4)


def test_a_run_says_itself_how_people_are_found(run_directory):
    settings = hrnet_jax.load(run_directory).network.settings
    assert (settings.input_size, settings.refine, settings.flip_test, settings.adjust) == (64, False, False, True)
    assert (settings.grouping.tag_threshold, settings.grouping.most_people, settings.candidates) == (0.5, 40, 40)


def test_options_come_before_those_of_the_run(run_directory):
    options = {"refine": True, "adjust": False, "full_size": False, "joint_threshold": 0.2, "tag_threshold": 0.7}
    given = {"most_people": 0, "flip_test": True, "scales": (0.5, 1, 2), "image_size": (128, 128)}
    predict = hrnet_jax.load(run_directory, **options, **given, box_score=0.25)
    settings, grouping = predict.network.settings, predict.network.settings.grouping
    assert (settings.refine, settings.adjust, settings.full_size) == (True, False, False)
    assert (grouping.joint_threshold, grouping.tag_threshold, grouping.most_people) == (0.2, 0.7, None)
    assert (settings.flip_test, settings.scales, settings.input_size) == (True, (0.5, 1, 2), 128)
    assert settings.candidates == 64 and predict.person_score == 0.25
    assert "short side 128, scales 0.5, 1, 2, flip test, missing joints filled" in predict.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes": "yolox.onnx"}, r"--boxes \(=yolox.onnx\) is for people in boxes, and .* leave out --boxes"),
        ({"boxes": lambda photo: None}, r"--boxes \(=<function"),
        ({"detector_kind": "yolox"}, r"--detector_kind \(=yolox\)"),
        ({"nms_threshold": 0.5}, r"--nms_threshold \(=0.5\)"),
        ({"rotations": [-15, 0, 15]}, r"--rotations \(=-15,0,15\)"),
        ({"decoder": "dark"}, r"--decoder \(=dark\)"),
        ({"scales": (0.5, 2)}, r"`scales` \(=\(0.5, 2\)\) must be .* among them 1"),
        ({"scales": (0.9, 1)}, r"`scales` .* not multiples of 32 pixels: take multiples of half the smallest"),
        ({"image_size": (128, 64)}, r"`image_size` \(=128, 64\) is the short side .* --image_size 64"),
        ({"tag_threshold": 0.0}, r"must be above 0"),
        ({"dtype": "float8"}, r"`dtype` \(='float8'\) must be one of"),
        ({"skeleton": "mpii"}, "17 joints, not 16"),
    ],
)
def test_options_that_mean_nothing_are_refused(higher, options, message):
    with pytest.raises(ValueError, match=message):
        hrnet_jax.load(higher, **options)


@pytest.mark.parametrize("option", [{"refine": False}, {"most_people": 0}, {"joint_threshold": 0.3}])
def test_options_of_whole_photos_are_refused_by_networks_for_crops(checkpoint, option):
    [name] = option
    with pytest.raises(ValueError, match=rf"--{name} .* is for one person in a crop: leave out --{name}"):
        hrnet_jax.load(checkpoint, **option)


def test_a_bottom_up_checkpoint_is_alone(higher, checkpoint):
    with pytest.raises(
        ValueError, match=r"w4_128.safetensors' is one of 2 checkpoints, .* do not agree: give one"
    ):
        hrnet_jax.load([checkpoint, higher])


def test_the_image_size_is_asked_for_where_it_cannot_be_known(higher, tmp_path):
    unnamed = shutil.copy(higher, tmp_path / "pose.safetensors")
    with pytest.raises(ValueError, match="give --image_size 512"):
        hrnet_jax.load(unnamed)
    for name, side in {
        "higher_hrnet32_coco_128x128-8ae85183_20200713": 128,
        "pose_higher_hrnet_w32_192_v2": 192,
    }.items():
        predict = hrnet_jax.load(shutil.copy(higher, tmp_path / f"{name}.safetensors"))
        assert predict.network.settings.input_size == side


def test_programs_of_whole_photos_are_refused(monkeypatch):
    program = runtimes.Program(lambda image: image, Settings(skeletons.COCO, (64, 64)), HEADS, {})
    monkeypatch.setattr(runtimes, "open_program", lambda path: program)
    with pytest.raises(ValueError, match="finds everyone in a photo, for images of one size: give its checkpoint"):
        hrnet_jax.load("x.onnx")


def test_a_run_writes_all_files(higher, tmp_path, capsys):
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.png", noise(number, 60 + 20 * (number % 2), 90))
    predict = hrnet_jax.load(higher, joint_threshold=0.0)
    found = sources.find([str(tmp_path / "photos")])
    write = ("json", "coco", "csv", "html", "pictures", "openpose")
    assert job.run(predict, found, Options(tmp_path / "out", write), {}) == 0
    photos = json.loads((tmp_path / "out" / "poses.json").read_text())["photos"]
    people = [person for photo in photos for person in photo["people"]]
    assert people and all(len(person["filled"]) == skeletons.COCO.num_joints for person in people)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [result["score"] for result in results] == pytest.approx([person["score"] for person in people])
    rows = (tmp_path / "out" / "poses.csv").read_text().splitlines()[1:]
    hidden = sum(
        f or joint[2] <= 0
        for person in people
        for f, joint in zip(person["filled"], person["joints"], strict=True)
    )
    assert sum(",,,0.0" in row for row in rows) == hidden > 0
    assert (tmp_path / "out" / "pictures" / "0.png.jpg").is_file() and (tmp_path / "out" / "index.html").is_file()
    openpose = json.loads((tmp_path / "out" / "openpose" / "0.png_keypoints.json").read_text())
    assert all(np.isfinite(person["pose_keypoints_2d"]).all() for person in openpose["people"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"write": ("json", "crops")},
            r"--write \(=json,crops\): 'crops' are of people in boxes, .* leave it out",
        ),
        ({"write": ("heatmaps",)}, "'heatmaps' are of people in boxes"),
        ({"detect_every": 3}, r"--detect_every \(=3\) is for detectors, .*; --every reads fewer"),
    ],
)
def test_what_there_is_of_boxes_only_is_refused(higher, tmp_path, changes, message):
    write_photo(tmp_path / "a.png", noise(0))
    options = Options(**{"out": tmp_path / "out", "write": ("json",), **changes})
    with pytest.raises(ValueError, match=message):
        job.run(hrnet_jax.load(higher), sources.find([str(tmp_path / "a.png")]), options, {})
    assert not (tmp_path / "out").exists()
