"""What `python -m hrnet_jax.benchmark` measures: ours side by side with what a user would otherwise run."""
