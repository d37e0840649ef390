"""Weights and inputs that the reference numbers were computed with; both are drawn from names."""

import jax
import numpy as np

from hrnet_jax.compare import problem

seeded_tensor = problem.draw_tensor


def seeded_variables(shapes: dict, dtype=np.float64) -> dict:
    """The reference's weights for a network with these (abstract) variables, in our layout."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), problem.draw_variables(shapes))


def seeded_images(tag: str, shape: tuple[int, ...] = (2, 3, 256, 192)) -> np.ndarray:
    """The reference's float64 input images, NHWC."""
    return problem.draw_images(tag, shape)
