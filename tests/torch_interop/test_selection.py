import numpy as np
import pytest

from hrnet_jax.torch_interop import selection

NAMES = ("conv1.weight", "layer1.0.conv1.weight", "stage2.0.branches.0.0.conv1.weight", "final_layer.weight")
NETWORK = {name: np.full(1, row) for row, name in enumerate(NAMES)}
AVERAGE = {name: value + 10 for name, value in NETWORK.items()}


def select(content: object, averaged: bool = False) -> selection.Selected:
    return selection.select(content, lambda value: isinstance(value, np.ndarray), averaged)


def with_prefix(prefix: str, tensors=NETWORK) -> dict:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("conv1.weight", "conv1.weight"),
        ("module.conv1.weight", "conv1.weight"),
        ("_orig_mod.module.layer1.0.bn1.bias", "layer1.0.bn1.bias"),
        ("backbone.stage2.0.fuse_layers.0.1.0.weight", "stage2.0.fuse_layers.0.1.0.weight"),
        ("module.backbone.bn1.weight", "bn1.weight"),
        ("keypoint_head.final_layer.bias", "final_layer.bias"),
        ("head.deconv_layers.0.weight", "deconv_layers.0.weight"),
        ("stage2.0.head.weight", "stage2.0.head.weight"),
    ],
)
def test_names_become_the_releases(name, release):
    assert selection.release_name(name) == release


@pytest.mark.parametrize(
    "prefix",
    ["model.", "net.", "student.", "model.module.", "module.model._orig_mod.", "pose.net.", "model.backbone."],
)
def test_a_prefix_of_the_whole_network_is_taken_off_and_told(prefix):
    found = select({"state_dict": with_prefix(prefix)})
    assert found.tensors == NETWORK
    assert found.notes == (f"the prefix {prefix.removesuffix('backbone.')!r} is taken off",)


def test_trunk_and_head_of_mmpose_may_be_wrapped():
    content = {"model.backbone.conv1.weight": np.ones(1), "model.keypoint_head.final_layer.weight": np.zeros(1)}
    found = select({"state_dict": content})
    assert list(found.tensors) == ["conv1.weight", "final_layer.weight"] and found.is_mmpose


@pytest.mark.parametrize("key", ["model", "net", "model_state_dict", "weights", "generator", "checkpoint.model"])
def test_a_state_dict_under_any_key_is_read_and_told(key):
    content: dict = NETWORK
    for name in reversed(key.split(".")):
        content = {name: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.ones(1)}}}, "params": {}}
    assert select(content).tensors == NETWORK
    assert select(content).notes == (f"read from {key!r}",)


@pytest.mark.parametrize("wrapper", [lambda tensors: tensors, lambda tensors: {"state_dict": tensors}])
def test_ordinary_files_need_no_note(wrapper):
    for prefix in ("", "module.", "_orig_mod.", "backbone.", "module.backbone."):
        found = select(wrapper(with_prefix(prefix)))
        assert found.tensors == NETWORK and found.notes == ()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"state_dict": NETWORK, "ema_state_dict": AVERAGE}, "ema_state_dict"),
        ({"model": NETWORK, "model_ema": with_prefix("module.", AVERAGE)}, "model_ema"),
        ({"params": NETWORK, "params_ema": AVERAGE}, "params_ema"),
        ({"state_dict": with_prefix("model.") | with_prefix("ema_model.", AVERAGE)}, "ema_model."),
        ({"state_dict": with_prefix("student.") | with_prefix("teacher.", AVERAGE)}, "teacher."),
        (NETWORK | with_prefix("ema.module.", AVERAGE), "ema.module."),
    ],
)
def test_an_average_is_told_and_read_on_demand(content, name):
    found = select(content)
    assert found.tensors == NETWORK and not found.is_average
    assert f"{name!r} also holds weights, a moving average: --averaged reads them" in found.notes
    found = select(content, averaged=True)
    assert found.tensors == AVERAGE and found.is_average


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": AVERAGE, "ema_state_dict": with_prefix("module."), "message_hub": {}},
        {"state_dict": AVERAGE | {f"ema_{name.replace('.', '_')}": NETWORK[name] for name in NAMES}},
    ],
)
@pytest.mark.parametrize("averaged", [False, True])
def test_mmpose_saves_the_average_in_place_of_the_weights(content, averaged):
    found = select(content, averaged)
    assert found.tensors == AVERAGE and found.is_average
    assert found.notes == ("these are the moving average that mmpose saves in place of the last step's weights",)


def test_a_file_without_average_is_told():
    with pytest.raises(ValueError, match="no moving average of the weights: leave out --averaged"):
        select({"state_dict": NETWORK}, averaged=True)


def test_only_an_average_is_read_as_it_is():
    assert select({"params_ema": AVERAGE}).tensors == AVERAGE


def test_tensors_outside_the_network_are_told():
    found = select({"state_dict": with_prefix("model.") | {"loss.sigmas": np.ones(3), "n_averaged": np.ones(1)}})
    assert found.tensors == NETWORK
    assert "2 tensors outside 'model.' are not used (loss.sigmas, n_averaged)" in found.notes


@pytest.mark.parametrize(
    "content", [{"a": NETWORK, "b": AVERAGE}, with_prefix("a.") | with_prefix("b."), NETWORK | with_prefix("b.")]
)
def test_several_networks_are_refused(content):
    with pytest.raises(ValueError, match=r"several networks \('.*'"):
        select(content)


def test_names_of_other_networks_stay():
    tensors = {"trunk.0.weight": np.ones(1), "trunk.1.weight": np.ones(1)}
    assert select({"state_dict": tensors}).tensors == tensors
