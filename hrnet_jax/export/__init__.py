"""Export of networks to files for other programs: safetensors, StableHLO and ONNX."""
