"""Weights between PyTorch and JAX: state dicts, loading, and the PyTorch versions of the networks."""
