import json

import jax.numpy as jnp
import pytest

from hrnet_jax.export.to_onnx import file

onnx = pytest.importorskip("onnx", reason="onnx is not installed")


def test_the_file_says_what_it_takes_and_gives(tmp_path):
    file.write(
        tmp_path / "x.onnx", lambda images: images.astype(jnp.float32)[..., :2], (8, 6), {"joints": ["nose"]}
    )
    model = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import] == [17]
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == {
        "hrnet_jax": {"joints": ["nose"]}
    }
    for value, name, channels, kind in (
        (model.graph.input[0], "image", 3, onnx.TensorProto.UINT8),
        (model.graph.output[0], "heatmaps", 2, onnx.TensorProto.FLOAT),
    ):
        sizes = [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        assert value.name == name and sizes == ["batch", 8, 6, channels]
        assert value.type.tensor_type.elem_type == kind
