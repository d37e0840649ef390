"""Checks of data sets and run directories: one file per topic, and the command ``python -m hrnet_jax.doctor``."""
