"""The parts of a training run: directory, log, manifest and graceful shutdown."""
