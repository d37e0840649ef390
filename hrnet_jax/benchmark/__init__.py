"""Measurements of `python -m hrnet_jax.benchmark`: this project side by side with its alternatives."""
