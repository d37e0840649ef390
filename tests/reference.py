"""Weights and inputs that the reference numbers were computed with; both are drawn from names."""

from collections.abc import Mapping

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


def stored_maps(data: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    """Maps ``[N, C, H, W]`` float32 of HigherHRNet, stored as integers and noise drawn from their name."""
    maps = data[key].astype(np.float32) / np.float32(1024)
    if data[f"{key}/noise"]:
        amount = np.where(np.arange(maps.shape[1]) < data[f"{key}/heat"], 0.02, 0.15).astype(np.float32)
        noise = problem.generator(f"noise/{key}").standard_normal(maps.shape).astype(np.float32)
        maps += amount[:, None, None] * noise
    return maps


def eighteen_numbers(array: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and 16 samples of an array, by which the numbers tell large ones."""
    flat = np.asarray(array, np.float64).ravel()
    return np.array([flat.mean(), flat.std(), *flat[np.linspace(0, flat.size - 1, 16).astype(int)]])
