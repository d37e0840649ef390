"""Checkpoints of HigherHRNet: the authors' and mmpose's, read and written, and what training starts from."""

import made_weights
import numpy as np
import pytest
from made_weights import COCO, HIGHER, TINY, described

from hrnet_jax import convert, skeletons
from hrnet_jax.models import higher_hrnet
from hrnet_jax.torch_interop import joint_heads, loading
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

CROWDPOSE = list(skeletons.load("crowdpose").joints)
HRNET = {"name": "higher_hrnet", "stem": 64, "units": [1, 4, 3], "blocks": 4}
FILES = {"w32_512": (32, COCO), "w48_640": (48, COCO), "w32_512_crowdpose": (32, CROWDPOSE)}
HEADS = higher_hrnet.NETWORK.heads


@pytest.mark.parametrize(("file", "width", "joints"), [(file, *of) for file, of in FILES.items()])
def test_networks_of_the_release_are_recognised_and_written_in_its_order(shared, file, width, joints):
    arrays = made_weights.listed(shared / f"conformance/higher_hrnet/keys_{file}.json")
    assert loading.infer(arrays) == HRNET | {"width": width, "deconvolutions": 1}
    weights = Weights("x.pth", arrays, {})
    if joints == CROWDPOSE:
        with pytest.raises(ValueError, match=r"finds 14 joints, not 17 .*name them with --skeleton"):
            convert._describe(weights, "", "", "")
    description, _ = convert._describe(weights, "", "crowdpose" * (joints == CROWDPOSE), "")
    assert (description["joints"], description["colors"]) == (joints, "RGB")
    shuffled = dict(sorted(arrays.items(), reverse=True))
    assert list(convert._in_order(shuffled, higher_hrnet.NETWORK.order)) == list(arrays)


@pytest.mark.parametrize("deconvolutions", [0, 1])
def test_a_file_of_the_authors_and_back(torch, tmp_path, deconvolutions):
    description = described(HIGHER, deconvolutions=deconvolutions)
    arrays = made_weights.tensors(description)
    torch.save(made_weights.as_torch(torch, arrays), tmp_path / "pose_higher_hrnet.pth")
    report = convert.convert(tmp_path / "pose_higher_hrnet.pth", tmp_path / "ours")
    assert "loaded into HigherHRNet-W4 (17 joints, reads RGB)" in str(report)
    assert not report.initialised and not report.extra
    assert loading.read(tmp_path / "ours").description == description
    convert.convert(tmp_path / "ours", tmp_path / "back.pth")
    written = torch.load(tmp_path / "back.pth", weights_only=True)
    assert set(written) == set(arrays)
    made_weights.assert_equal({name: written[name].numpy() for name in arrays}, arrays)


@pytest.mark.parametrize("key", ["state_dict", ""])
def test_files_of_training_in_half_precision_are_read(torch, tmp_path, key):
    """The authors' code then puts the network between conversions to and from half precision."""
    arrays = {name: x.astype(np.float16) if x.ndim == 4 else x for name, x in made_weights.tensors(HIGHER).items()}
    bare = made_weights.as_torch(torch, arrays, "1.")
    whole = {"state_dict": {f"module.{name}": x for name, x in bare.items()}, "best_state_dict": bare, "epoch": 3}
    torch.save(whole if key else bare, tmp_path / "pose_higher_hrnet_w48_640.pth.tar")
    found = loading.read(tmp_path / "pose_higher_hrnet_w48_640.pth.tar")
    assert f"the prefix '{'module.' * bool(key)}1.' is taken off" in found.notes
    made_weights.assert_equal(found.tensors, {n: x.astype("f4") if x.ndim == 4 else x for n, x in arrays.items()})


def test_a_file_of_mmpose_is_read(tmp_path):
    crowdpose = described(HIGHER, joints=CROWDPOSE)
    arrays = made_weights.tensors(crowdpose)
    foreign = {f"{'keypoint_head' if n.startswith(HEADS) else 'backbone'}.{n}": x for n, x in arrays.items()}
    file = made_weights.file(tmp_path / "higher_hrnet32_crowdpose_512x512.safetensors", foreign)
    report = convert.convert(file, tmp_path / "release.safetensors", skeleton="crowdpose")
    assert "HigherHRNet-W4 (14 joints, reads RGB)" in str(report)
    assert not report.initialised and not report.extra
    made_weights.assert_equal(loading.read(tmp_path / "release.safetensors").tensors, arrays)


def trunk() -> dict[str, np.ndarray]:
    """Returns the tensors that HigherHRNet has in common with HRNet."""
    return {name: x for name, x in made_weights.tensors(HIGHER).items() if not name.startswith(HEADS)}


CLASSIFIER = {
    **{"final_layer.0.weight": np.zeros((8, 6, 1, 1), np.float32), "classifier.bias": np.zeros(10, np.float32)},
    "incre_modules.0.0.conv1.weight": np.zeros((4, 4, 1, 1), np.float32),
}
ONE_PERSON = {
    "final_layer.weight": np.zeros((17, 4, 1, 1), np.float32),
    "final_layer.bias": np.zeros(17, np.float32),
}


@pytest.mark.parametrize(
    ("extra", "reason"), [(CLASSIFIER, "image classifier"), (ONE_PERSON, "head for one person")]
)
def test_training_starts_from_a_trunk_under_another_head(extra, reason):
    weights = Weights("hrnet.pth", trunk() | extra, {})
    fresh = made_weights.fresh(HIGHER)
    variables, report = loading.initialize(fresh, weights, HIGHER, allow_missing=HEADS)
    assert set(report.extra) == set(extra) and all(reason in text for text in report.extra.values())
    assert {name.split(".")[0] for name in report.initialised} == {"final_layers", "deconv_layers"}
    found, expected = loading.to_pytorch(variables), loading.to_pytorch(fresh)
    for name, x in found.items():
        np.testing.assert_array_equal(x, expected[name] if name.startswith(HEADS) else weights.tensors[name])
    with pytest.raises(ValueError, match=r"final_layers: not in the checkpoint .*--config\.init_from"):
        loading.initialize(fresh, weights, HIGHER)


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (HIGHER, described(HIGHER, deconvolutions=0), "`model.deconvolutions` is 1 there and 0 here"),
        (described(HIGHER, deconvolutions=0), HIGHER, "`model.deconvolutions` is 0 there and 1 here"),
        (HIGHER, described(HIGHER, width=6), "`model.width` is 4 there and 6 here"),
        (HIGHER, TINY, "`model.name` is 'higher_hrnet' there and 'hrnet' here"),
    ],
)
def test_weights_of_another_form_are_refused(there, here, message):
    weights = Weights("x.pth", made_weights.tensors(there), {})
    with pytest.raises(ValueError, match="choose the config it was trained with") as caught:
        loading.initialize(made_weights.fresh(here), weights, here, allow_missing=HEADS)
    assert message in str(caught.value)


OF_JOINTS = {"final_layers.0", "final_layers.1", "deconv_layers.0.0.0"}


@pytest.mark.parametrize(("joints", "named"), [(CROWDPOSE, True), (CROWDPOSE, False), (COCO[::-1], True)])
def test_layers_with_channels_of_joints_begin_anew_for_others(joints, named):
    here = described(HIGHER, joints=joints)
    weights = Weights("x.pth", made_weights.tensors(HIGHER), {"joints": COCO} if named else {})
    carried = joint_heads.carry_over(made_weights.fresh(here), weights, here)
    with pytest.raises(ValueError, match=r"made for 17 .*--config\.init_from"):
        loading.initialize(made_weights.fresh(here), carried, here)
    variables, report = loading.initialize(made_weights.fresh(here), carried, here, allow_missing=HEADS)
    assert {name.rpartition(".")[0] for name in report.initialised} == OF_JOINTS
    found, fresh = loading.to_pytorch(variables), loading.to_pytorch(made_weights.fresh(here))
    for name in (name for name in found if not name.endswith(COUNTER)):
        source = fresh if name.rpartition(".")[0] in OF_JOINTS else weights.tensors
        np.testing.assert_array_equal(found[name], source[name])
