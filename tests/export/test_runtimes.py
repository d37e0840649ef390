import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from hrnet_jax import inference
from hrnet_jax.export import runtimes, write

WITHOUT_FLAX = """
import sys
sys.modules["flax"] = None  # importing it fails
import numpy as np
from hrnet_jax.export import runtimes
program = runtimes.open_program(sys.argv[1])
matrices = np.tile(np.eye(2, 3, dtype=np.float32), (2, 1, 1))
joints, scores = program.step()(None, np.zeros((2, 64, 64, 3), np.uint8), matrices)
print(joints.shape, scores.shape)
"""


def people(count: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(1).integers(0, 256, (count, 64, 64, 3), np.uint8)
    return images, np.tile(np.array([[0.5, 0.1, -20], [-0.1, 0.5, -10]], np.float32), (count, 1, 1))


@pytest.fixture(scope="module")
def programs(network, tmp_path_factory):
    """The network as a program of each kind, by name of the file."""
    folder = tmp_path_factory.mktemp("programs")
    with pytest.MonkeyPatch.context() as patch:  # its comparison has a test of its own
        patch.setattr(write, "_compare_program", lambda *_: "")
        write.write(network, folder / "x.stablehlo")
    write.write(network, folder / "joints.stablehlo", "joints")
    return folder


@pytest.fixture(scope="module")
def onnx_program(network, programs):
    """The network as an ONNX file."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    write.write(network, programs / "x.onnx")
    return programs / "x.onnx"


def check_joints(network, path, **changes) -> None:
    """Compares the joints of a program's step with those of the network."""
    program = runtimes.open_program(path)
    program = dataclasses.replace(program, settings=dataclasses.replace(program.settings, **changes))
    settings = program.settings
    step = inference.compile_step(
        network.model, flip_order=settings.flip_order, shift=settings.flip_shift, decoder=settings.decoder
    )
    found, expected = program.step()(None, *people(2)), step(network.variables, *people(2))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-2)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)


@pytest.mark.parametrize("name", ["x.stablehlo", "joints.stablehlo"])
def test_stablehlo_predicts_the_same_joints(network, programs, name):
    check_joints(network, programs / name)


@pytest.mark.parametrize("changes", [{}, {"flip_test": False, "decoder": "argmax"}])
def test_onnx_predicts_the_same_joints(network, onnx_program, changes):
    check_joints(network, onnx_program, **changes)


def test_a_program_serves_the_prediction_of_a_table(onnx_program):
    images, matrices = people(4)
    batches = [
        {"image": images[part], "crop": matrices[part], "index": np.array(part), "valid": np.ones(2, np.float32)}
        for part in ([0, 1], [2, 3])
    ]
    step = runtimes.open_program(onnx_program).step()
    joints, scores = inference.predict(step, {}, batches, 4, lambda batch: batch)
    np.testing.assert_allclose(joints, step(None, images, matrices)[0], atol=1e-3)
    assert scores.shape == (4, 17)


def test_a_program_runs_without_flax(onnx_program):
    done = subprocess.run([sys.executable, "-c", WITHOUT_FLAX, onnx_program], capture_output=True, text=True)
    assert done.stdout == "(2, 17, 2) (2, 17)\n", done.stderr


def test_other_files_are_refused(tmp_path):
    for name, error, message in (
        ("x.pth", ValueError, r"is not an exported program: give a file named \.onnx or \.stablehlo"),
        ("x.onnx", FileNotFoundError, "does not exist"),
    ):
        with pytest.raises(error, match=message):
            runtimes.open_program(tmp_path / name)


def test_a_stablehlo_file_needs_its_description(programs, tmp_path):
    copy = tmp_path / "x.stablehlo"
    copy.write_bytes((programs / "x.stablehlo").read_bytes())
    with pytest.raises(
        FileNotFoundError, match=r"x\.stablehlo\.json, the description of x\.stablehlo, is missing"
    ):
        runtimes.open_program(copy)
    content = json.loads((programs / "x.stablehlo.json").read_text())
    for text, message in (
        ("{", "its description is damaged"),
        ("3", "its description is damaged"),
        (json.dumps(content | {"decoder": "os:system"}), r"`decoder` \(='os:system'\) is none of"),
        (
            json.dumps(content | {"output": "poems"}),
            r"`output` \(='poems'\) must be 'heatmaps', 'joints' or 'heads'",
        ),
    ):
        (tmp_path / "x.stablehlo.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            runtimes.open_program(copy)


def test_damaged_and_foreign_onnx_files_are_refused(onnx_program, tmp_path):
    import onnx

    (tmp_path / "x.onnx").write_bytes(onnx_program.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"x\.onnx cannot be opened .*: export it again"):
        runtimes.open_program(tmp_path / "x.onnx")
    model = onnx.load(onnx_program)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="was not exported by hrnet_jax"):
        runtimes.open_program(tmp_path / "x.onnx")


def test_without_onnxruntime_the_extra_is_named(onnx_program, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install 'hrnet_jax\[onnx\]'"):
        runtimes.open_program(onnx_program)
