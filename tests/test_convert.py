import json

import jax
import numpy as np
import pytest

from hrnet_jax import convert, training
from hrnet_jax.models import hrnet


def small(joints: int = 3) -> dict:
    model = hrnet.HRNet(num_joints=joints, width=4, units=(1, 1, 1), blocks=1)
    return training.init_variables(model, (32, 32), seed=0)


def as_pytorch(variables: dict) -> dict[str, np.ndarray]:
    """A network's state dict in PyTorch's layout, as the release writes it."""
    tensors = {}
    for collection in variables.values():
        for path, leaf in jax.tree_util.tree_leaves_with_path(collection):
            name = ".".join(key.key for key in path)
            tensors[name] = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf
    return tensors | {"bn1.num_batches_tracked": np.array(7)}


def test_the_imagenet_checkpoint_leaves_only_the_head(shared):
    """The authors' ImageNet names and shapes load with the differences that they are known for."""
    keys = json.loads((shared / "conformance/imagenet_hrnet_w32.keys.json").read_text())
    random = np.random.default_rng(0)
    tensors = {name: random.standard_normal(shape, np.float32) for name, shape in keys.items()}
    variables = training.init_variables(hrnet.HRNet(num_joints=17, width=32), (64, 64), seed=0)
    loaded, report = convert.initialize(variables, tensors, "imagenet.pth")
    assert report.kept == ["final_layer.bias", "final_layer.weight"]
    assert len(report.loaded) == len(jax.tree.leaves(variables)) - 2
    expected = tensors["stage3.2.branches.1.0.conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(loaded["params"]["stage3.2"]["branches.1.0"]["conv2"]["weight"], expected)
    assert "newly initialised: final_layer.bias, final_layer.weight" in str(report)
    prefixes = {name.split(".")[0] for name in report.extra}
    assert prefixes == {"incre_modules", "downsamp_modules", "final_layer", "classifier", "stage4"}


def test_there_and_back_is_the_same():
    variables = small()
    other = jax.tree.map(lambda x: x + 1, variables)
    loaded, report = convert.initialize(variables, as_pytorch(other), "x.pth")
    jax.tree.map(np.testing.assert_array_equal, loaded, other)
    assert report.kept == report.extra == []


def test_a_head_of_other_joints_is_kept_and_named():
    variables = small(joints=3)
    loaded, report = convert.initialize(variables, as_pytorch(small(joints=5)), "x.pth")
    assert report.kept == ["final_layer.bias", "final_layer.weight"]
    assert loaded["params"]["final_layer"]["weight"].shape[-1] == 3


def test_a_head_that_is_needed_must_fit():
    with pytest.raises(ValueError, match=r"final_layer\.bias \(shape \(5,\)\)"):
        convert.initialize(small(joints=3), as_pytorch(small(joints=5)), "x.pth", need_head=True)


def test_another_width_is_refused():
    tensors = as_pytorch(small())
    tensors["stage2.0.branches.0.0.conv1.weight"] = np.zeros((8, 8, 3, 3))
    del tensors["bn1.weight"]
    with pytest.raises(ValueError, match=r"2 of \d+ tensors differ, first bn1.weight \(missing\)"):
        convert.initialize(small(), tensors, "x.pth")


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        convert.read_pytorch("nowhere.pth")


def test_files_of_pytorch_are_read(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensors = as_pytorch(small())
    bare = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in bare.items()}}
    for number, content in enumerate((bare, wrapped)):
        torch.save(content, tmp_path / f"{number}.pth")
        read = convert.read_pytorch(tmp_path / f"{number}.pth")
        assert read.keys() == tensors.keys()
        for name, value in tensors.items():
            np.testing.assert_array_equal(read[name], value)
    (tmp_path / "bad.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"bad\.pth' is not a PyTorch checkpoint"):
        convert.read_pytorch(tmp_path / "bad.pth")
