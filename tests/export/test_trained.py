import json

import made_weights
import numpy as np
import pytest

from hrnet_jax import convert, skeletons
from hrnet_jax.export import trained
from hrnet_jax.torch_interop import state_dict


@pytest.fixture
def run(weights, tmp_path):
    """A run directory with a best checkpoint and a configuration."""
    convert.convert(weights, tmp_path / "run" / "checkpoints" / "best")
    config = made_weights.small_config()
    config.eval.update({"decoder": "dark", "flip_shift": 0.75, "flip_test": False})
    (tmp_path / "run" / "config.json").write_text(config.to_json_best_effort())
    return tmp_path / "run"


def test_a_run_tells_its_settings(run):
    for source in (run, run / "checkpoints" / "best", run / "checkpoints" / "best" / "0"):
        found = trained.load(source)
        assert found.run == run and found.network == made_weights.TINY
        settings = found.settings
        assert settings.image_size == (64, 32) and settings.skeleton == skeletons.COCO
        assert (settings.decoder, settings.flip_test, settings.flip_shift) == ("dark", False, 0.75)


def test_a_run_tells_whether_it_is_evaluated_so(run, weights):
    convert.convert(weights, run / "checkpoints" / "last")
    for source in (run, run / "checkpoints" / "best", run / "checkpoints" / "best" / "0"):
        assert trained.load(source).as_evaluated
    assert trained.load(run, decoder="dark", flip_test=False, image_size=(64, 32)).as_evaluated  # as in the run
    for options in ({"decoder": "quarter"}, {"flip_test": True}, {"image_size": (64, 64)}):
        assert not trained.load(run, **options).as_evaluated
    assert not trained.load(run / "checkpoints" / "last").as_evaluated
    assert not trained.load(weights, image_size=(64, 32)).as_evaluated
    config = json.loads((run / "config.json").read_text())
    config["eval"]["averaged"] = True
    (run / "config.json").write_text(json.dumps(config))
    assert not trained.load(run).as_evaluated


def test_options_take_precedence(run):
    found = trained.load(run, image_size=(96, 64), decoder="argmax", flip_test=True)
    assert found.settings.image_size == (96, 64) and found.settings.decoder == "argmax"
    assert found.settings.flip_test and found.settings.flip_shift == 0.75


def test_the_weights_and_counters_are_those_of_the_source(network):
    made_weights.assert_equal(network.tensors, made_weights.tensors())
    made_weights.assert_equal(network.variables, made_weights.variables(made_weights.TINY))


def test_an_exported_file_tells_its_settings(network, tmp_path):
    state_dict.write(tmp_path / "x.safetensors", network.tensors, network.describe())
    found = trained.load(tmp_path / "x.safetensors")
    assert found.settings == network.settings and found.network == network.network and found.run is None


@pytest.mark.parametrize("name", ["x.pth", "checkpoint"])
def test_settings_survive_conversions(network, tmp_path, torch, name):
    del torch
    state_dict.write(tmp_path / "x.safetensors", network.tensors, network.describe())
    convert.convert(tmp_path / "x.safetensors", tmp_path / name)
    assert trained.load(tmp_path / name).settings == network.settings
    convert.convert(tmp_path / name, tmp_path / "y.safetensors")
    assert trained.load(tmp_path / "y.safetensors").settings == network.settings


def test_an_unknown_image_size_is_asked_for(weights):
    with pytest.raises(ValueError, match=r"does not tell the size of its images: give --image_size 256x192"):
        trained.load(weights)
    with pytest.raises(ValueError, match=r"must be multiples of 32"):
        trained.load(weights, image_size=(64, 50))


def test_a_run_must_not_name_code(run):
    config = json.loads((run / "config.json").read_text())
    config["eval"]["decoder"] = "os:system"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"`decoder` \(='os:system'\) is none of"):
        trained.load(run)
    assert trained.load(run, decoder="quarter").settings.decoder == "quarter"


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_a_damaged_configuration_is_reported(run, content):
    (run / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        trained.load(run)


def test_a_skeleton_of_your_own_is_asked_for_once(tmp_path):
    own = skeletons.Skeleton("fox", ("nose", "tail"), (), ((0, 1),), (0.1, 0.1), (0,))
    skeletons.save(own, tmp_path / "fox.json")
    tensors = made_weights.tensors(made_weights.described(joints=list(own.joints)))
    convert.convert(
        made_weights.file(tmp_path / "x.safetensors", tensors),
        tmp_path / "fox",
        skeleton=str(tmp_path / "fox.json"),
    )
    with pytest.raises(ValueError, match=r"limbs and flip pairs of its 2 joints \(nose, tail\): give --skeleton"):
        trained.load(tmp_path / "fox", image_size=(64, 64))
    found = trained.load(tmp_path / "fox", image_size=(64, 64), skeleton=str(tmp_path / "fox.json"))
    assert found.settings.skeleton == own
    state_dict.write(tmp_path / "y.safetensors", found.tensors, found.describe())
    assert trained.load(tmp_path / "y.safetensors").settings.skeleton == own


def test_the_network_is_in_float32(network):
    assert network.model.dtype == np.float32
