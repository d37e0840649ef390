"""What makes a training step need less memory."""

import math
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

MOST_PARTS = 32
"""Largest accumulation that is tried when a step does not fit into memory."""


def options(config: ConfigDict, devices: int) -> Iterator[dict[str, Any]]:
    """Yields fields that make a step need less memory: recomputed activations first, then smaller parts.

    Parts never hold fewer examples than are normalized together, since that would change the training.
    """
    if not config.model.remat:
        yield {"model.remat": True}
    together = 1 if config.model.norm_frozen else config.model.norm_group_size or config.batch_size
    parts = 2 * config.accumulation
    while parts <= MOST_PARTS and config.batch_size % (parts * math.lcm(devices, together)) == 0:
        yield {"model.remat": True, "accumulation": parts}
        parts *= 2
