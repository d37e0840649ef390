"""Checkpoints of Princeton's and bearpaw's code, read and written."""

import json
import pathlib
from collections.abc import Mapping

import made_weights
import numpy as np
import pytest
from flax import traverse_util
from made_weights import COCO, HOURGLASS, MPII, TINY, described

from hrnet_jax import convert, models
from hrnet_jax.models import hourglass, hourglass_names
from hrnet_jax.torch_interop import loading
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

FILES = {
    "hourglass8_128x128": {"stacks": 8},
    "hourglass2_june2016_64x128": {"stacks": 2, "residual_before_head": False},
    "hourglass2_bearpaw_128x64": {"stacks": 2, "stem_features": [64, 128, 256]},
}
SIZES = {"features": 256, "depth": 4, "stem_features": [64, 128, 128], "residual_before_head": True}
JUNE = described(HOURGLASS, residual_before_head=False)


def princeton(description: Mapping = HOURGLASS) -> dict[str, np.ndarray]:
    """Returns weights as Princeton's code saves them, a different value in every tensor without effect."""
    arrays = made_weights.tensors(description)
    return arrays | {name: x + row for row, (name, x) in enumerate(hourglass_names.dead(arrays).items(), start=1)}


def listed(shared: pathlib.Path, file: str) -> dict[str, np.ndarray]:
    return made_weights.listed(shared / f"conformance/hourglass/net_{file}.keys.json")


@pytest.mark.parametrize("file", FILES)
def test_networks_of_public_code_are_recognised(shared, file):
    arrays = hourglass_names.rename(listed(shared, file))
    assert loading.infer(arrays) == {"name": "hourglass", **SIZES, **FILES[file]}
    joints = MPII if "bearpaw" in file else COCO
    description = convert._describe(Weights("x.pth", arrays, {}), "", "", "")[0]
    assert (description["joints"], description["colors"]) == (joints, "RGB")


@pytest.mark.parametrize("file", FILES)
def test_names_and_shapes_are_the_references(shared, file):
    """All tensors of the reference are the network's, step counters, or have no effect."""
    arrays = hourglass_names.rename(listed(shared, file))
    model = loading.build(
        {**loading.infer(arrays), "colors": "RGB", "joints": MPII if "bearpaw" in file else COCO}
    )
    shapes = models.shapes(model, (64, 64))
    own = {
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape in (
            (".".join(path), (leaf.shape[3], leaf.shape[2], *leaf.shape[:2]) if leaf.ndim == 4 else leaf.shape)
            for tree in shapes.values()
            for path, leaf in traverse_util.flatten_dict(tree).items()
        )
    }
    whole = own | ({} if "bearpaw" in file else hourglass_names.dead(own))
    counters = {name: np.zeros(()) for name in loading.counter_names(own)}
    assert {name: x.shape for name, x in (whole | counters).items()} == {n: x.shape for n, x in arrays.items()}
    if "bearpaw" not in file:
        assert list(convert._in_order(whole | counters, hourglass.NETWORK.order)) == list(arrays)


@pytest.mark.parametrize("file", ["hourglass8_128x128", "hourglass2_june2016_64x128"])
def test_the_pytorch_network_has_the_references_names_in_their_order(shared, torch, file):
    from hrnet_jax.models import torch_models

    arrays = listed(shared, file)
    with torch.device("meta"):
        tensors = torch_models.StackedHourglass(len(COCO), **FILES[file]).state_dict()
    assert [(name, x.shape) for name, x in arrays.items() if name in tensors] == [
        (name, tuple(x.shape)) for name, x in tensors.items()
    ]
    assert all(".skip_layer." in name for name in arrays.keys() - tensors.keys())


def test_a_file_of_princetons_code_and_back(torch, tmp_path):
    arrays = princeton()
    prefixed = {f"model.module.{name}": x for name, x in made_weights.as_torch(torch, arrays).items()}
    torch.save({"state_dict": prefixed, "optimizer": {}, "epoch": 3}, tmp_path / "a.pth")
    report = convert.convert(tmp_path / "a.pth", tmp_path / "ours")
    text = str(report)
    assert "loaded into 2-stack Hourglass (17 joints, reads RGB)" in text and not report.initialised
    assert "a shortcut that Princeton's code has but does not use" in text and "RGB / 255" in text
    assert report.extra.keys() == hourglass_names.dead(made_weights.tensors(HOURGLASS)).keys()
    assert loading.read(tmp_path / "ours").description == HOURGLASS

    convert.convert(tmp_path / "ours", tmp_path / "b.pth")
    written = {name: x.numpy() for name, x in torch.load(tmp_path / "b.pth", weights_only=True).items()}
    assert set(written) == set(arrays)
    zeros = {name: np.zeros_like(arrays[name]) for name in report.extra}
    made_weights.assert_equal(written, arrays | zeros)
    assert "RGB / 255" not in str(convert.convert(tmp_path / "b.pth", tmp_path / "again"))


def test_between_files_every_bit_is_kept(tmp_path):
    arrays = princeton(JUNE)
    convert.convert(made_weights.file(tmp_path / "a.safetensors", arrays), tmp_path / "b.safetensors")
    made_weights.assert_equal(loading.read(tmp_path / "b.safetensors").tensors, arrays)


def test_a_file_of_bearpaws_code_is_read(shared, tmp_path):
    keys = json.loads((shared / "conformance/hourglass/net_hourglass2_bearpaw_128x64.keys.json").read_text())
    arrays = {f"module.{name}": np.full(shape, row, np.float32) for row, (name, shape) in enumerate(keys.items())}
    counters = {name: np.array(5) for name in arrays if name.endswith(COUNTER)}
    report = convert.convert(made_weights.file(tmp_path / "a.safetensors", arrays | counters), tmp_path / "ours")
    assert not report.initialised and not report.extra
    found = loading.read(tmp_path / "ours").tensors
    for ours, theirs in {
        "pre.3.skip_layer.conv.bias": "layer2.0.downsample.0.bias",
        "hgs.1.0.low2.low2.low2.low2.conv2.conv.weight": "hg.1.hg.0.3.0.conv2.weight",
        "hgs.0.0.low2.low3.bn1.running_var": "hg.0.hg.2.2.0.bn1.running_var",
        "hgs.0.0.up1.conv1.conv.weight": "hg.0.hg.3.0.0.conv1.weight",
        "merge_preds.0.conv.conv.weight": "score_.0.weight",
        "features.1.1.bn.weight": "fc.1.1.weight",
    }.items():
        np.testing.assert_array_equal(found[ours], arrays[f"module.{theirs}"])


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (JUNE, HOURGLASS, "`model.residual_before_head` is False there and True here"),
        (HOURGLASS, JUNE, "`model.residual_before_head` is True there and False here"),
        (HOURGLASS, described(HOURGLASS, stacks=1), "`model.stacks` is 2 there and 1 here"),
        (HOURGLASS, described(HOURGLASS, stem_features=[4, 8, 8]), "`model.stem_features` is [4, 8, 6] there"),
        (HOURGLASS, TINY, "`model.name` is 'hourglass' there and 'hrnet' here"),
        (TINY, HOURGLASS, "`model.name` is 'hrnet' there and 'hourglass' here"),
    ],
)
def test_weights_of_another_form_are_refused(there, here, message):
    weights = Weights("x.pth", made_weights.tensors(there), {})
    with pytest.raises(ValueError, match="choose the config it was trained with") as caught:
        loading.initialize(made_weights.fresh(here), weights, here, allow_missing=hourglass.NETWORK.heads)
    assert message in str(caught.value)


def test_other_joints_get_new_heads_for_every_stack():
    mpii = described(HOURGLASS, joints=MPII)
    weights = Weights("x.pth", made_weights.tensors(HOURGLASS), {})
    with pytest.raises(ValueError, match=r"outs: made for 17 joints, not 16.*--config\.init_from"):
        loading.initialize(made_weights.fresh(mpii), weights, mpii)
    _, report = loading.initialize(made_weights.fresh(mpii), weights, mpii, allow_missing=hourglass.NETWORK.heads)
    assert {name.split(".")[0] for name in report.initialised} == {"outs", "merge_preds"}
