"""ONNX files from JAX functions."""
