import argparse
import errno
import gzip
import json
import os
import pathlib
import pickle
import re
import sys
import types

import made_weights
import numpy as np
import pytest

from hrnet_jax import console
from hrnet_jax.torch_interop import state_dict


def test_torch_files_are_recognised_by_suffix_or_as_files(tmp_path):
    for name in ("x.pth", "x.pt", "x.bin", "x.pth.tar", "x.safetensors"):
        assert state_dict.is_torch_file(tmp_path / name)
    assert not state_dict.is_torch_file(tmp_path / "w32")
    (tmp_path / "w32").write_bytes(b"")
    (tmp_path / "run.pth").mkdir()
    assert state_dict.is_torch_file(tmp_path / "w32")
    assert not state_dict.is_torch_file(tmp_path / "run.pth")


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("name", ["x.pth", "x.pth.tar", "pytorch_model.bin"])
def test_a_bare_state_dict_is_read_bit_for_bit(torch, tmp_path, name, options):
    torch.save(made_weights.as_torch(torch), tmp_path / name, **options)
    weights = state_dict.read(tmp_path / name)
    made_weights.assert_equal(weights.tensors, made_weights.ARRAYS)
    assert weights.source == str(tmp_path / name) and weights.description == {}


def test_the_authors_training_checkpoint_is_read(torch, tmp_path):
    """Its `perf` is a numpy scalar, which torch refuses by default."""
    content = {
        "epoch": 210,
        "model": "pose_hrnet",
        "state_dict": made_weights.as_torch(torch, prefix="module."),
        "best_state_dict": made_weights.as_torch(
            torch, {name: array * 0 for name, array in made_weights.ARRAYS.items()}
        ),
        "perf": np.float64(0.744),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-3}]},
    }
    torch.save(content, tmp_path / "checkpoint.pth")
    made_weights.assert_equal(state_dict.read(tmp_path / "checkpoint.pth").tensors, made_weights.ARRAYS)


@pytest.fixture
def mmengine(monkeypatch):
    """Provides mmengine's modules while files are written, but not while they are read."""

    class HistoryBuffer:
        """Holds arrays and its own functions, as mmengine's class."""

        def __init__(self):
            self.history, self.methods = np.ones(3), {"min": HistoryBuffer.min}

        def min(self):
            raise AssertionError("code of a file was run")

    name = "mmengine.logging.history_buffer"
    HistoryBuffer.__module__ = HistoryBuffer.min.__module__ = name
    HistoryBuffer.__qualname__, HistoryBuffer.min.__qualname__ = "HistoryBuffer", "HistoryBuffer.min"
    with monkeypatch.context() as patch:
        for module in ("mmengine", "mmengine.logging", name):
            patch.setitem(sys.modules, module, types.ModuleType(module))
        sys.modules[name].HistoryBuffer = HistoryBuffer  # type: ignore
        yield patch


@pytest.mark.parametrize("head", ["keypoint_head.", "head."])
def test_mmposes_checkpoints_are_read(torch, tmp_path, mmengine, head):
    trunk = made_weights.as_torch(torch, prefix="backbone.")
    tensors = {**trunk, f"{head}final_layer.bias": torch.ones(3), "data_preprocessor.mean": torch.ones(3, 1, 1)}
    content = {
        "meta": {"seed": 1, "dataset_meta": {"sigmas": np.ones(3), "names": np.array(["nose"], object)}},
        "state_dict": tensors,
        "message_hub": {
            "log_scalars": {"train/loss": sys.modules["mmengine.logging.history_buffer"].HistoryBuffer()}
        },
        "optimizer": {"state": {}, "param_groups": []},
    }
    torch.save(content, tmp_path / "mmpose.pth")
    mmengine.undo()
    weights = state_dict.read(tmp_path / "mmpose.pth")
    assert weights.tensors.keys() == {*made_weights.ARRAYS, "final_layer.bias", "data_preprocessor.mean"}
    np.testing.assert_array_equal(weights.tensors["conv1.weight"], made_weights.ARRAYS["conv1.weight"])
    assert weights.description == {"colors": "RGB"}


def test_mmpose_tells_data_set_and_joints(torch, tmp_path):
    meta: dict = {"dataset_name": "ap10k"}
    content = {"meta": {"dataset_meta": meta}, "state_dict": made_weights.as_torch(torch, prefix="backbone.")}
    for names in ([], ["L_Eye", "R_Eye", "Nose"]):
        meta["keypoint_id2name"] = dict(enumerate(names))
        torch.save(content, tmp_path / "x.pth")
        weights = state_dict.read(tmp_path / "x.pth")
        assert weights.trained_on == "'ap10k'" and weights.description.get("joints", []) == names


def test_an_average_is_read_on_demand(torch, tmp_path):
    average = {name: array + 1 for name, array in made_weights.ARRAYS.items()}
    torch.save(
        {"model": made_weights.as_torch(torch), "ema": made_weights.as_torch(torch, average)}, tmp_path / "x"
    )
    made_weights.assert_equal(state_dict.read(tmp_path / "x").tensors, made_weights.ARRAYS)
    made_weights.assert_equal(state_dict.read(tmp_path / "x", averaged=True).tensors, average)
    torch.save(made_weights.as_torch(torch), tmp_path / "y")
    with pytest.raises(ValueError, match=r"y': it has no moving average .* leave out --averaged"):
        state_dict.read(tmp_path / "y", averaged=True)


def test_mmpose_is_recognised_behind_other_prefixes(torch, tmp_path):
    torch.save(made_weights.as_torch(torch, prefix="module.backbone."), tmp_path / "x.pth")
    assert state_dict.read(tmp_path / "x.pth").description == {"colors": "RGB"}


def test_half_floats_become_float32_and_doubles_stay(torch, tmp_path):
    values = torch.tensor([1.0, -0.5, 3.0])
    kinds = [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float32, torch.float64]
    torch.save({str(kind): torch.nn.Parameter(values.to(kind)) for kind in kinds}, tmp_path / "x.pth")
    read = state_dict.read(tmp_path / "x.pth").tensors
    assert [array.dtype for array in read.values()] == [np.float32] * 4 + [np.float64]
    assert all((array == values.numpy()).all() for array in read.values())


# Files that must be refused.


def refused(path) -> str:
    with pytest.raises(ValueError) as caught:
        state_dict.read(path)
    message = str(caught.value)
    assert repr(str(path)) in message and "\n" not in message
    return message


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_code_in_a_pickle_is_not_run(torch, tmp_path, options):
    marker = tmp_path / "it ran"
    for function, argument, name in (
        (os.system, f"touch '{marker}'", "posix.system"),
        (exec, f"open({str(marker)!r}, 'w')", "exec"),
        (os.mkdir, str(marker), "posix.mkdir"),
        (np.save, marker, "numpy"),
    ):
        torch.save(
            {**made_weights.as_torch(torch), "evil": made_weights.Evil(function, argument)},
            tmp_path / "x.pth",
            **options,
        )
        message = refused(tmp_path / "x.pth")
        assert f"holds more than tensors ({name}" in message and "nothing was run" in message
        for protocol in (2, 4):
            (tmp_path / "plain.pth").write_bytes(pickle.dumps(made_weights.Evil(function, argument), protocol))
            refused(tmp_path / "plain.pth")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["x.pth", "x.pkl", "x.npz", "x.safetensors"])
def test_code_in_other_files_is_not_run(torch, tmp_path, name):
    marker = tmp_path / "it ran"
    evil = made_weights.Evil(os.mkdir, str(marker))
    for write in (
        lambda file: pickle.dump(evil, file),
        lambda file: np.savez(file, **{"conv1.weight": np.array([evil], object)}),
    ):
        with (tmp_path / name).open("wb") as file:
            write(file)
        assert name in refused(tmp_path / name)
    assert not marker.exists()


def test_functions_that_are_ignored_are_not_called(torch, tmp_path):
    marker = tmp_path / "it ran"
    evil = made_weights.Evil(getattr, made_weights.Evil(getattr, pathlib.Path, "touch"), marker)
    torch.save({"evil": evil}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth")
    assert not marker.exists()


@pytest.mark.parametrize("value", [argparse.Namespace(rate=0.1), pathlib.Path("/data")])
def test_settings_beside_the_weights_are_ignored(torch, tmp_path, value):
    content = {"state_dict": made_weights.as_torch(torch, prefix="model."), "hyper_parameters": {"it": [value]}}
    torch.save(content, tmp_path / "x.ckpt")
    assert state_dict.read(tmp_path / "x.ckpt").tensors.keys() == made_weights.ARRAYS.keys()


def test_whole_modules_are_refused(torch, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    assert "(torch.nn.modules.linear.Linear)" in refused(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "content", [b"", b"hello world\nsecond line", b"<!DOCTYPE html><html>", b"PK\x03\x04", b"\x80"]
)
def test_other_files_are_refused(torch, tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    assert f"({len(content)} bytes) is not a PyTorch checkpoint" in refused(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty: copy or download it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: fetch .* `git lfs pull`"),
        (b"<!DOCTYPE html><html>", "a web page: download the file itself"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file: give the PyTorch file it was made from"),
        (gzip.compress(b"x", mtime=0), "packed by gzip: unpack it"),
    ],
)
def test_files_that_are_not_what_their_names_say_are_named(torch, tmp_path, content, what):
    (tmp_path / "x.pth").write_bytes(content)
    assert re.search(rf"is not a PyTorch checkpoint, but {what}", refused(tmp_path / "x.pth"))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_truncated_files_are_refused(torch, tmp_path, options):
    torch.save(made_weights.as_torch(torch), tmp_path / "x.pth", **options)
    whole = (tmp_path / "x.pth").read_bytes()
    for part in (0.1, 0.5, 0.9, 0.99):
        (tmp_path / "x.pth").write_bytes(whole[: int(part * len(whole))])
        assert "not a whole one: download or write it again" in refused(tmp_path / "x.pth")


def test_checkpoints_without_a_state_dict_are_refused(torch, tmp_path):
    for content in ([1, 2], {}, {"epoch": 3}, {"state_dict": {"a": 1}}, torch.ones(2), {1: torch.ones(2)}):
        torch.save(content, tmp_path / "x.pth")
        assert "holds no state dict" in refused(tmp_path / "x.pth")


def test_sparse_tensors_are_refused_by_name(torch, tmp_path):
    torch.save({"conv1.weight": torch.eye(3).to_sparse()}, tmp_path / "x.pth")
    assert "'conv1.weight' is not an array of plain numbers" in refused(tmp_path / "x.pth")


def test_tensors_larger_than_their_file_are_refused(torch, tmp_path):
    numbers = torch.ones(100_000)
    many = {"conv1.weight": torch.ones(1).expand(10**9)}, {f"conv{n}.weight": numbers for n in range(100)}
    for content in many:
        torch.save(content, tmp_path / "x.pth")
        assert "some share memory; save a copy" in refused(tmp_path / "x.pth")


def test_two_networks_in_one_file_are_refused(torch, tmp_path):
    torch.save(made_weights.as_torch(torch) | made_weights.as_torch(torch, prefix="module."), tmp_path / "x.pth")
    assert "several networks ('', 'module.')" in refused(tmp_path / "x.pth")


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint 'nowhere\.pth'"):
        state_dict.read("nowhere.pth")


def test_without_torch_only_safetensors_are_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pth").write_bytes(b"")
    assert "needs PyTorch: pip install torch" in refused(tmp_path / "x.pth")
    with pytest.raises(ValueError, match="pip install torch"):
        state_dict.write(tmp_path / "new.pth", made_weights.ARRAYS, {})
    path = made_weights.file(tmp_path / "x.safetensors", made_weights.ARRAYS)
    made_weights.assert_equal(state_dict.read(path).tensors, made_weights.ARRAYS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pth", "x.safetensors"]


# Hugging Face's format.


def test_safetensors_of_all_kinds(tmp_path):
    arrays = {kind: np.array([[1, 2, 3]], kind) for kind in ("<f8", "<f4", "<f2", "<i8", "<i4")}
    arrays |= {"none": np.zeros((0, 3), np.float32), "scalar": np.array(5)}
    made_weights.assert_equal(
        state_dict.read(made_weights.file(tmp_path / "x.safetensors", arrays)).tensors, arrays
    )


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    values = np.array([1.0, -2.5, 1e30, np.inf], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    read = state_dict.read(made_weights.file(tmp_path / "x.safetensors", {"x": upper})).tensors["x"]
    np.testing.assert_array_equal(read, (upper.astype(np.uint32) << 16).view(np.float32))
    np.testing.assert_allclose(read, values, rtol=2**-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_offsets": [0, 4000]}, "invalid shape, data type, or offset"),
        ({"data_offsets": [-16, 0]}, "invalid value: integer `-16`"),
        ({"data_offsets": [16, 0]}, "invalid offset for tensor `x`"),
        ({"data_offsets": [0, 8]}, "invalid shape, data type, or offset"),
        ({"data_offsets": [0.0, 16.0]}, "expected usize"),
        ({"data_offsets": [0]}, "expected a tuple of size 2"),
        ({"data_offsets": "all"}, "expected a tuple of size 2"),
        ({"shape": [5]}, "invalid shape, data type, or offset"),
        ({"shape": [-1, -4]}, "invalid value: integer `-1`"),
        ({"shape": [2**62, 2**62]}, "overflow"),
        ({"shape": ["4"]}, "expected usize"),
        ({"dtype": "F64"}, "invalid shape, data type, or offset"),
        ({"dtype": "Q"}, "unknown variant `Q`"),
    ],
)
def test_safetensors_with_a_wrong_header_are_refused(tmp_path, change, message):
    header = {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **change}}
    found = refused(made_weights.raw_file(tmp_path / "x.safetensors", header, bytes(16)))
    assert message in found and "is not a whole safetensors file" in found


def test_safetensors_of_other_types_are_refused(tmp_path):
    header = {"x": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}
    path = made_weights.raw_file(tmp_path / "x.safetensors", header, bytes(16))
    assert "'x' is of type 'F8_E4M3', not one of F64" in refused(path)


def test_safetensors_that_overlap_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    path = made_weights.raw_file(tmp_path / "x.safetensors", dict.fromkeys("ab", entry), bytes(16))
    assert re.search("invalid offset for tensor `[ab]`", refused(path))  # whichever it reads first


@pytest.mark.parametrize("header", [[], 3, {"x": 3}, {"x": {}}, None])
def test_safetensors_without_a_valid_header_are_refused(tmp_path, header):
    refused(made_weights.raw_file(tmp_path / "x.safetensors", header, bytes(16)))


def test_damaged_safetensors_are_refused(tmp_path):
    path = made_weights.file(tmp_path / "x.safetensors", made_weights.ARRAYS)
    whole = path.read_bytes()
    deep = b"[" * 200_000
    for content in (
        *(whole[:length] for length in (0, 7, 8, 50, len(whole) - 1)),
        b"\xff" * 8 + whole[8:],
        (2**40).to_bytes(8, "little") + whole[8:],
        b"<!DOCTYPE html>",
        len(deep).to_bytes(8, "little") + deep,
    ):
        path.write_bytes(content)
        assert "is not a whole safetensors file" in refused(path)
    assert "holds no state dict" in refused(made_weights.file(path, {}))


# Writing.


def test_a_written_file_is_a_bare_state_dict_in_order(torch, tmp_path):
    state_dict.write(tmp_path / "new" / "x.pth", made_weights.ARRAYS, {"colors": "RGB"})
    content = torch.load(tmp_path / "new" / "x.pth", weights_only=True)
    assert list(content) == list(made_weights.ARRAYS)
    made_weights.assert_equal({name: tensor.numpy() for name, tensor in content.items()}, made_weights.ARRAYS)
    weights = state_dict.read(tmp_path / "new" / "x.pth")
    assert weights.description == {"colors": "RGB"}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.pth"]


def test_written_safetensors_are_read_bit_for_bit(tmp_path):
    views = {"view": np.arange(6, dtype=np.float32).reshape(2, 3).T, "scalar": np.array(5)}
    state_dict.write(tmp_path / "new" / "x.safetensors", made_weights.ARRAYS | views, {"colors": "RGB"})
    weights = state_dict.read(tmp_path / "new" / "x.safetensors")
    made_weights.assert_equal(weights.tensors, made_weights.ARRAYS | views)
    assert weights.description == {"colors": "RGB"}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("metadata", ["{", "3", '"text"'])
def test_damaged_metadata_of_safetensors_are_ignored(tmp_path, metadata):
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    header = {"__metadata__": {"hrnet_jax": metadata}, "x": entry}
    path = made_weights.raw_file(tmp_path / "x.safetensors", header, bytes(16))
    assert state_dict.read(path).description == {}


@pytest.mark.parametrize("metadata", ["{", "3", '"text"', 3, None])
def test_damaged_metadata_are_ignored(torch, tmp_path, metadata):
    state_dict.write(tmp_path / "x.pth", made_weights.ARRAYS, {})
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    for damaged in ({"": {"hrnet_jax": metadata}}, {"": metadata}, metadata):
        content._metadata = damaged
        torch.save(content, tmp_path / "y.pth")
        assert state_dict.read(tmp_path / "y.pth").description == {}


def test_unusable_targets_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    for target, message in (
        ("file", "exists: delete it, or give another name"),
        ("broken", "exists"),
        ("file/x.pth", "file is not a writable directory"),
    ):
        with pytest.raises(ValueError, match=message):
            state_dict.check_target(tmp_path / target)
    state_dict.check_target(tmp_path / "new" / "newer" / "w32")
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_partial_files_are_deleted(torch, tmp_path, monkeypatch, failure, suffix):
    del torch
    monkeypatch.setattr(pathlib.Path, "write_bytes", half_written(failure))
    with pytest.raises(failure):
        state_dict.write(tmp_path / f"x{suffix}", made_weights.ARRAYS, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_full_disk_is_named(torch, tmp_path, monkeypatch, suffix):
    del torch
    monkeypatch.setattr(
        pathlib.Path, "write_bytes", half_written(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    )
    with pytest.raises(OSError, match=rf"x{suffix}' cannot be written \(No space left on device\)") as raised:
        state_dict.write(tmp_path / f"x{suffix}", made_weights.ARRAYS, {})
    assert console.is_user_error(raised.value) and list(tmp_path.iterdir()) == []


def half_written(failure):
    """Returns a method that writes the beginning of a file and fails."""

    def write_bytes(path, content):
        path.write_text("half")
        raise failure

    return write_bytes


@pytest.mark.parametrize("name", ["x.onnx", "x.stablehlo"])
def test_an_exported_program_is_not_taken_for_damaged_weights(tmp_path, name):
    (tmp_path / name).write_bytes(b"program")
    with pytest.raises(ValueError, match=r"is a program for `hrnet predict`, not weights"):
        state_dict.read(tmp_path / name)


def test_a_directory_appears_only_when_complete(tmp_path):
    with state_dict.write_atomically(tmp_path / "a" / "w32") as partial:
        partial.mkdir()
        (partial / "file").write_text(json.dumps(1))
        assert not (tmp_path / "a" / "w32").exists()
    assert (tmp_path / "a" / "w32" / "file").read_text() == "1"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["w32"]
