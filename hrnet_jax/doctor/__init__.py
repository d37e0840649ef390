"""What can be wrong with a data set or a run, a topic a file; `hrnet_jax.doctor` is the command."""
