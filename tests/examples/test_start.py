import jax
import made_weights
import numpy as np
import pytest

from examples import functions, predict, start
from hrnet_jax import checkpoint_files
from hrnet_jax.models import layers
from hrnet_jax.torch_interop import loading


def test_a_checkpoint_is_loaded_with_its_network_and_weights(tmp_path):
    path = made_weights.file(tmp_path / "tiny.safetensors", made_weights.tensors())
    model, variables = start.load(path)
    assert model == loading.build(made_weights.TINY)
    made_weights.assert_equal(variables, made_weights.variables(made_weights.TINY))


def test_joints_of_made_up_people_lie_in_their_crops():
    people = start.made_up_people(8, (128, 96))
    assert {name: x.shape for name, x in people.items()} == {
        "image": (8, 128, 96, 3),
        "joints": (8, 17, 2),
        "visible": (8, 17),
    }
    labelled = np.asarray(people["joints"])[np.asarray(people["visible"]) > 0]
    assert len(labelled) > 60
    assert (labelled > -10).all() and (labelled < [106, 138]).all()
    again, other = start.made_up_people(8, (128, 96)), start.made_up_people(8, (128, 96), seed=1)
    np.testing.assert_array_equal(again["image"], people["image"])
    assert (other["image"] != people["image"]).any()


def test_prepared_people_are_those_of_the_split(made_up_records):
    arguments = ["--data", str(made_up_records / "val2017"), "--people", "3", "--image-size", "64", "64"]
    at = start.run(None, arguments)
    assert at.batch["image"].shape == (3, 64, 64, 3) and at.batch["joints"].shape == (3, 17, 2)
    assert at.skeleton.name == "coco" and at.batch["visible"].any()


def test_people_of_another_skeleton_are_refused(tmp_path):
    mpii = made_weights.described(joints=made_weights.MPII)
    path = tmp_path / "mpii"
    checkpoint_files.write_weights(path, made_weights.variables(mpii), mpii, {})
    with pytest.raises(ValueError, match="the network finds 16 joints and the people have 17"):
        start.run(None, ["--checkpoint", str(path), "--image-size", "64", "64"])


def test_joints_are_predicted_in_crop_pixels(small):
    image = small.batch["image"]
    joints, scores = jax.jit(predict.predict, static_argnums=0)(small.model, small.variables, image)
    heatmaps = jax.jit(functions.make_predict(small.model))(small.variables, image)
    flat = np.asarray(heatmaps).reshape(4, 256, 17)
    rows, columns = np.divmod(flat.argmax(1), 16)
    peaks = layers.STRIDE * np.stack([columns, rows], -1)
    np.testing.assert_allclose(scores, flat.max(1), rtol=1e-5)
    assert np.median(np.abs(np.asarray(joints) - peaks)) <= layers.STRIDE and joints.max() > 40
