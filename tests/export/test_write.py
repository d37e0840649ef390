import dataclasses
import sys

import jax
import made_weights
import numpy as np
import pytest

from hrnet_jax.export import runtimes, stablehlo, write
from hrnet_jax.torch_interop import loading, state_dict


@pytest.fixture
def onnx():
    """ONNX and its runtime, where they are installed."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return pytest.importorskip("onnx", reason="onnx is not installed")


def test_safetensors_keep_every_bit(network, tmp_path):
    first, card = write.write(network, tmp_path / "new" / "x.safetensors")
    assert "every bit is equal" in first and "model card" in card
    found = loading.read(tmp_path / "new" / "x.safetensors")
    made_weights.assert_equal(found.tensors, made_weights.tensors())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["README.md", "x.safetensors"]


def test_pytorch_loads_the_tensors(network, tmp_path, torch):
    from safetensors import safe_open
    from safetensors.torch import load_file

    write.write(network, tmp_path / "x.safetensors")
    loaded = load_file(tmp_path / "x.safetensors")
    made_weights.assert_equal({name: x.numpy() for name, x in loaded.items()}, made_weights.tensors())
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"
    assert all(isinstance(tensor, torch.Tensor) for tensor in loaded.values())


@pytest.mark.usefixtures("onnx")
@pytest.mark.parametrize(
    "description",
    [
        made_weights.TINY,
        made_weights.described(made_weights.BASELINE, stem=4, features=8),
        made_weights.HOURGLASS,
        made_weights.described(name="hrnet_ablation", variant="bilinear"),
        made_weights.described(name="hrnet_ablation", variant="product"),
        made_weights.described(name="hrnet_resolutions", heads=[0, 2]),
    ],
    ids=["HRNet", "SimpleBaseline", "Hourglass", "bilinear", "product", "resolutions"],
)
def test_every_network_becomes_onnx(network, tmp_path, monkeypatch, description):
    monkeypatch.setattr(write, "_compare_program", lambda *_: "not compared")
    model, variables = loading.build(description), made_weights.variables(description)
    other = dataclasses.replace(network, network=description, model=model, variables=variables)
    assert write.write(other, tmp_path / "x.onnx") == ["not compared"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]
    program = runtimes.open_program(tmp_path / "x.onnx")
    images = np.random.default_rng(3).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected = jax.jit(write._function(other, "heatmaps"))(images)
    found = program.call(images)
    assert found.shape == (2, 16, 16, 17) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(program.call(images[:1]), found[:1], atol=1e-5 * np.abs(expected).max())


@pytest.mark.usefixtures("onnx", "shallow_resnet")
def test_cpn_becomes_onnx(network, tmp_path, monkeypatch):
    test_every_network_becomes_onnx(network, tmp_path, monkeypatch, made_weights.CPN)


@pytest.fixture
def of_photos(network):
    """A network for whole photos."""
    model, variables = loading.build(made_weights.HIGHER), made_weights.variables(made_weights.HIGHER)
    return dataclasses.replace(network, network=made_weights.HIGHER, model=model, variables=variables)


@pytest.mark.parametrize("suffix", [".stablehlo", ".onnx"])
def test_a_network_for_whole_photos_becomes_a_program_of_its_heads(of_photos, tmp_path, suffix, request):
    if suffix == ".onnx":
        request.getfixturevalue("onnx")
    (note,) = write.write(of_photos, tmp_path / f"x{suffix}")
    assert "deviates from the network by" in note and "joints" not in note
    program = runtimes.open_program(tmp_path / f"x{suffix}")
    assert program.output == "heads"
    shapes = [head.shape for head in program.call(np.zeros((2, 64, 64, 3), np.uint8))]
    assert shapes == [(2, 16, 16, 34), (2, 32, 32, 17)]
    with pytest.raises(ValueError, match="finds all people of a photo, and this is for one person in a crop"):
        program.step()


@pytest.mark.parametrize("wrong", [0, 1])
def test_every_head_of_a_program_is_compared(of_photos, tmp_path, monkeypatch, wrong):
    heads = jax.jit(write._function(of_photos, "heads"))

    def call(images):
        return [head * (1.001 if i == wrong else 1) for i, head in enumerate(heads(images))]

    program = runtimes.Program(call, of_photos.settings, "heads", {})
    monkeypatch.setattr(write, "_write_program", lambda *_: None)
    monkeypatch.setattr(runtimes, "open_program", lambda path: program)
    with pytest.raises(ValueError, match=r"deviates from the network by .* nothing was kept"):
        write.write(of_photos, tmp_path / "x.onnx")


def test_a_network_for_whole_photos_has_no_step_to_joints(of_photos, tmp_path):
    with pytest.raises(ValueError, match="is a network that finds all people of a photo: leave out --joints"):
        write.write(of_photos, tmp_path / "x.stablehlo", "joints")


def test_stablehlo_comes_with_its_description(network, tmp_path):
    (note,) = write.write(network, tmp_path / "x.stablehlo")
    assert "deviates from the network by" in note and "on 3 images and on one" in note
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.stablehlo", "x.stablehlo.json"]
    assert runtimes.open_program(tmp_path / "x.stablehlo").description["output"] == "heatmaps"


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("x.tflite", "heatmaps", r"the name must end in \.safetensors, \.stablehlo, \.onnx"),
        ("x", "heatmaps", r"the name must end in"),
        ("x.onnx", "joints", r"only \.stablehlo files hold the step to joints"),
        ("x.safetensors", "joints", r"only \.stablehlo files"),
        ("file/x.stablehlo", "heatmaps", r"file is not a writable directory"),
        ("old.stablehlo", "heatmaps", r"exists: delete it"),
        ("described.stablehlo", "heatmaps", r"described\.stablehlo\.json' exists"),
    ],
)
def test_unusable_targets_are_refused(network, tmp_path, name, output, message):
    for existing in ("file", "old.stablehlo", "described.stablehlo.json"):
        (tmp_path / existing).write_text("mine")
    with pytest.raises(ValueError, match=message):
        write.write(network, tmp_path / name, output)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(network, tmp_path, monkeypatch, package):
    pytest.importorskip("onnx", reason="onnx is not installed")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"need the package {package}: pip install 'hrnet_jax\[onnx\]'"):
        write.write(network, tmp_path / "x.onnx")


def test_a_program_that_deviates_is_not_kept(network, tmp_path, monkeypatch):
    program = runtimes.Program(lambda images: np.ones((len(images), 16, 16, 17)), network.settings, "heatmaps", {})
    monkeypatch.setattr(runtimes, "open_program", lambda path: program)
    with pytest.raises(ValueError, match=r"deviates from the network by .* nothing was kept"):
        write.write(network, tmp_path / "x.stablehlo")
    assert list(tmp_path.iterdir()) == []


def test_deviations_are_relative_to_the_largest_value():
    assert write._deviation(np.array([1.0, -3.0]), np.array([2.0, -4.0, 8.0])) == 1 / 8
    assert write._deviation(np.zeros(2), np.zeros(3)) == 0  # of a network before training
    assert write._deviation(np.ones(2), np.zeros(3)) == 1


def test_a_wrong_bit_is_found(network, tmp_path, monkeypatch):
    def damage(path, tensors, description):
        changed = {name: array + (name == "conv1.weight") for name, array in tensors.items()}
        whole(path, changed, description)

    whole = state_dict.save
    monkeypatch.setattr(state_dict, "save", damage)
    with pytest.raises(ValueError, match=r"'conv1\.weight' is not what was written"):
        write.write(network, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(network, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stablehlo, "write_description", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write.write(network, tmp_path / "x.stablehlo")
    assert list(tmp_path.iterdir()) == []
