"""Checkpoints of GengDavid's CPN, read and written, and the ImageNet weights that training starts from."""

import made_weights
import numpy as np
import pytest
from made_weights import BASELINE, COCO, CPN, MPII, TINY, described

from hrnet_jax import convert
from hrnet_jax.compare import measured, problem
from hrnet_jax.models import cpn
from hrnet_jax.torch_interop import loading, selection
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

PUBLIC = described(CPN, projection=True)
PUBLISHED = {"name": "cpn", "depth": 50, "stem": 64, "features": 256}
FILES = {"cpn50_128x96": True, "cpn50_plain_128x96": False}


@pytest.mark.parametrize(("file", "projection"), FILES.items())
def test_networks_of_public_code_are_recognised_and_written_in_their_order(shared, file, projection):
    arrays = made_weights.listed(shared / f"conformance/cpn/net_{file}.keys.json")
    assert loading.infer(arrays) == PUBLISHED | {"projection": projection}
    description = convert._describe(Weights("x.pth", arrays, {}), "", "", "")[0]
    assert (description["joints"], description["colors"]) == (COCO, "RGB")
    shuffled = dict(sorted(arrays.items(), reverse=True))
    assert list(convert._in_order(shuffled, cpn.NETWORK.order)) == list(arrays)


@pytest.mark.parametrize(("file", "projection"), FILES.items())
def test_the_pytorch_network_has_the_references_names_in_their_order(shared, torch, file, projection):
    from hrnet_jax.models import torch_models

    arrays = made_weights.listed(shared / f"conformance/cpn/net_{file}.keys.json")
    with torch.device("meta"):
        tensors = torch_models.CPN(len(COCO), projection=projection).state_dict()
    assert [(name, tuple(x.shape)) for name, x in tensors.items()] == [(n, x.shape) for n, x in arrays.items()]


@pytest.mark.parametrize(("file", "projection"), FILES.items())
def test_the_pytorch_network_predicts_as_the_reference(shared, torch, file, projection):
    from hrnet_jax.models import torch_models

    with torch.device("meta"):
        network = torch_models.CPN(len(COCO), projection=projection).double()
    network = network.to_empty(device="cpu").eval()
    drawn = {name: problem.draw_tensor(name, tuple(x.shape)) for name, x in network.named_parameters()}
    drawn |= {name: problem.draw_tensor(name, tuple(x.shape)) for name, x in network.named_buffers() if x.ndim}
    network.load_state_dict(made_weights.as_torch(torch, drawn), strict=False)
    images = np.ascontiguousarray(problem.draw_images(file, (2, 3, 128, 96)).transpose(0, 3, 1, 2))
    with torch.no_grad():
        *of_levels, refined = (x.numpy() for x in network.predictions(torch.from_numpy(images)))
    with np.load(shared / f"conformance/cpn/net_{file}.npz") as numbers:
        assert measured.deviation(refined, numbers["refine"]) < 1e-9
        if "global" in numbers:
            for ours, expected in zip(of_levels, numbers["global"], strict=True):
                assert measured.deviation(ours, expected) < 1e-9


def test_a_file_of_public_code_and_back(shallow_resnet, torch, tmp_path):
    arrays = made_weights.tensors(PUBLIC)
    content = {"state_dict": made_weights.as_torch(torch, arrays, "module."), "optimizer": {}, "epoch": 32}
    torch.save(content, tmp_path / "CPN256x192.pth.tar")
    report = convert.convert(tmp_path / "CPN256x192.pth.tar", tmp_path / "ours")
    assert "loaded into CPN ResNet-50 (17 joints, reads RGB)" in str(report)
    assert "255 high and for the decoder `cpn`" in str(report) and not report.initialised and not report.extra
    assert loading.read(tmp_path / "ours").description == PUBLIC
    convert.convert(tmp_path / "ours", tmp_path / "back.pth")
    written = torch.load(tmp_path / "back.pth", weights_only=True)
    made_weights.assert_equal({name: x.numpy() for name, x in written.items()}, arrays)


def test_a_prefix_of_a_resnet_alone_is_taken_off():
    arrays = {"resnet.conv1.weight": np.zeros((2, 3, 7, 7)), "resnet.bn1.weight": np.zeros(2)}
    assert selection.select(arrays, lambda _: True).tensors.keys() == {"conv1.weight", "bn1.weight"}
    of_cpn = arrays | {"global_net.laterals.0.0.weight": np.zeros((2, 8, 1, 1))}
    for prefix in ("", "module.", "net.module."):
        prefixed = {f"{prefix}{name}": x for name, x in of_cpn.items()}
        assert selection.select(prefixed, lambda _: True).tensors.keys() == of_cpn.keys()


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (PUBLIC, CPN, "`model.projection` is True there and False here"),
        (CPN, PUBLIC, "`model.projection` is False there and True here"),
        (CPN, TINY, "`model.name` is 'cpn' there and 'hrnet' here"),
        (CPN, BASELINE, "`model.name` is 'cpn' there and 'simple_baseline' here"),
        (BASELINE, CPN, "`model.name` is 'simple_baseline' there and 'cpn' here"),
    ],
)
def test_weights_of_another_form_are_refused(shallow_resnet, there, here, message):
    weights = Weights("x.pth", made_weights.tensors(there), {})
    with pytest.raises(ValueError, match="choose the config it was trained with") as caught:
        loading.initialize(made_weights.fresh(here), weights, here, allow_missing=cpn.NETWORK.heads)
    assert message in str(caught.value)


def test_training_starts_from_an_image_classifier(shallow_resnet):
    whole = made_weights.tensors(CPN)
    trunk = {name.removeprefix("resnet."): x for name, x in whole.items() if name.startswith("resnet.")}
    classifier = {"fc.weight": np.zeros((10, 64), np.float32), "fc.bias": np.zeros(10, np.float32)}
    weights = Weights("resnet50.pth", trunk | classifier, {})
    variables, report = loading.initialize(made_weights.fresh(CPN), weights, CPN, allow_missing=cpn.NETWORK.heads)
    assert "the trunk of an image classifier under a new head" in str(report)
    assert {name.split(".")[0] for name in report.initialised} == {"global_net", "refine_net"}
    found = loading.to_pytorch(variables)
    assert len(trunk) > 10
    for name, x in trunk.items():
        if not name.endswith(COUNTER):
            np.testing.assert_array_equal(found[f"resnet.{name}"], x)


def test_other_joints_get_new_heads_at_every_level(shallow_resnet):
    mpii = described(CPN, joints=MPII)
    weights = Weights("x.pth", made_weights.tensors(CPN), {})
    with pytest.raises(ValueError, match=r"made for 17 joints, not 16.*--config\.init_from"):
        loading.initialize(made_weights.fresh(mpii), weights, mpii)
    _, report = loading.initialize(made_weights.fresh(mpii), weights, mpii, allow_missing=cpn.NETWORK.heads)
    made_new = {name.rpartition(".")[0] for name in report.initialised}
    expected = {f"global_net.predict.{level}.{layer}" for level in range(4) for layer in (3, 5)}
    assert made_new == expected | {"refine_net.final_predict.1", "refine_net.final_predict.2"}
