"""Losses of bottom-up networks: heatmaps of all people, and associative embedding (Newell et al., NIPS 2017).

Tags of one person are pulled to their mean, means of different people are pushed apart. Formulas are those of the
HigherHRNet release; the paper's have other factors. The parts are for one photo, `batch_loss` for a batch.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from hrnet_jax.bottom_up import targets
from hrnet_jax.models.batch_norm import at_least_float32

TAG_FACTOR = 0.001
"""Factor of `push` and `pull` in the loss, as published."""


def heatmap_loss(heatmaps: jax.Array, expected: jax.Array, mask: jax.Array) -> jax.Array:
    """Computes the mean squared error over all joints and pixels, those outside of the mask counted as 0.

    Args:
      heatmaps: ``[h, w, K]`` predictions.
      expected: ``[h, w, K]`` targets.
      mask: ``[h, w]`` bool, whether a pixel counts. People without labelled joints and crowds do not.

    Returns:
      Scalar. The mean is over the whole heatmaps, whatever the area of the mask.
    """
    return jnp.where(mask[..., None], jnp.square(heatmaps - expected), 0).mean()


def gather_tags(tags: jax.Array, pixel: jax.Array) -> jax.Array:
    """Returns ``[P, K]``: the values of tag maps ``[h, w, K]`` at pixels (x, y) of joints, ``[P, K, 2]``."""
    _, width, joints = tags.shape
    return jnp.take_along_axis(tags.reshape(-1, joints), pixel[..., 1] * width + pixel[..., 0], axis=0)


def pull(tags: jax.Array, usable: jax.Array) -> jax.Array:
    """Computes how far the tags of a person are from their mean.

    ``1 / N sum_n mean_k (t_nk - m_n)^2`` over the N people with usable joints, where m_n is the mean of the usable
    t_nk. The gradient flows through the mean.

    Args:
      tags: ``[P, K]``, at the joints of people.
      usable: ``[P, K]`` bool, see `targets.locate`.

    Returns:
      Scalar, 0 without people.
    """
    means, present = _mean_tags(tags, usable)
    variances = _mean(jnp.square(tags - means[:, None]), usable)
    return _mean(variances, present)


def push(tags: jax.Array, usable: jax.Array, similarity: str = "exp") -> jax.Array:
    """Computes how similar the mean tags of people are: half the mean over pairs.

    Args:
      tags: ``[P, K]``, at the joints of people.
      usable: ``[P, K]`` bool, see `targets.locate`.
      similarity: of two means, a name in `SIMILARITIES`.

    Returns:
      Scalar, 0 with fewer than two people.
    """
    means, present = _mean_tags(tags, usable)
    pairs = present[:, None] & present[None] & ~jnp.eye(len(means), dtype=bool)
    return 0.5 * _mean(SIMILARITIES[similarity](means[:, None] - means[None]).ravel(), pairs.ravel())


def _exponential_similarity(difference: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.square(difference))


def _hinge_similarity(difference: jax.Array) -> jax.Array:
    return jax.nn.relu(1 - jnp.abs(difference))


SIMILARITIES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "exp": _exponential_similarity,
    "max": _hinge_similarity,
}
"""Similarities of the mean tags of two people by their difference d: ``exp(-d^2)`` and ``max(0, 1 - |d|)``."""


def _mean_tags(tags: jax.Array, usable: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns ``[P]`` mean tags of people and ``[P]`` whether they have usable joints."""
    return _mean(tags, usable), usable.any(-1)


def _mean(values: jax.Array, where: jax.Array) -> jax.Array:
    """Averages over the last axis. Returns 0, with the gradient 0, where there is nothing to average."""
    count = jnp.maximum(where.sum(-1), 1).astype(values.dtype)
    return jnp.where(where, values, 0).sum(-1) / count


def batch_loss(
    outputs: Sequence[jax.Array],
    batch: Mapping[str, jax.Array],
    *,
    sigma: float | jax.Array | None = targets.SIGMA,
    similarity: str = "exp",
    tag_factor: float = TAG_FACTOR,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes the loss of a network's outputs for a batch of photos.

    Args:
      outputs: of each of R heads, coarse to fine: ``[B, h, w, 2 K]``, heatmaps of the K joints before their tags,
        then ``[B, h, w, K]`` heatmaps alone.
      batch: ``joints`` ``[B, R, P, K, 2]`` in pixels of the heatmaps of each head, ``visible`` ``[B, P, K]``,
        positive for labelled joints, and ``mask_0`` and so on for each head, ``[B, h, w / 8]``, see
        `targets.unpack_mask`.
      sigma: standard deviation of the target Gaussians in heatmap pixels: one for all, or ``[B, P]`` for each
        person. None for `targets.proportional_sigma`.
      similarity: of the mean tags of people, a name in `SIMILARITIES`.
      tag_factor: of push and pull.

    Returns:
      The loss, and the terms that it is the sum of, means over the batch: ``heat_0``, ``push_0``, ``pull_0``,
      ``heat_1`` and so on. Push and pull include their factor. In float32 at least.

    Raises:
      ValueError: outputs do not fit the batch, or the similarity is unknown.
    """
    joints, visible = batch["joints"], batch["visible"]
    _check(outputs, joints.shape, similarity)
    terms = {}
    for head, output in enumerate(outputs):
        spread = targets.proportional_sigma(output.shape[1:3]) if sigma is None else sigma
        sigmas = jnp.broadcast_to(jnp.asarray(spread, joints.dtype), visible.shape[:2])
        of_photos = jax.vmap(functools.partial(_terms, similarity=similarity, tag_factor=tag_factor))
        found = of_photos(output, batch[f"mask_{head}"], joints[:, head], visible, sigmas)
        terms |= {f"{name}_{head}": term.mean() for name, term in found.items()}
    return jnp.stack(list(terms.values())).sum(), terms


def _terms(
    output: jax.Array,
    mask: jax.Array,
    joints: jax.Array,
    visible: jax.Array,
    sigma: jax.Array,
    *,
    similarity: str,
    tag_factor: float,
) -> dict[str, jax.Array]:
    """Returns the terms of the loss of one photo at one head."""
    output = output.astype(at_least_float32(output.dtype))
    heatmaps, tags = jnp.split(output, [joints.shape[1]], axis=-1)
    expected = targets.render(joints, visible, heatmap_size=heatmaps.shape[:2], sigma=sigma)
    terms = {"heat": heatmap_loss(heatmaps, expected.astype(heatmaps.dtype), targets.unpack_mask(mask))}
    if tags.shape[-1]:
        pixel, usable = targets.locate(joints, visible, heatmaps.shape[:2])
        of_people = gather_tags(tags, pixel)
        terms["push"] = tag_factor * push(of_people, usable, similarity)
        terms["pull"] = tag_factor * pull(of_people, usable)
    return terms


def _check(outputs: Sequence[jax.Array], shape: tuple[int, ...], similarity: str) -> None:
    """Raises ValueError if outputs do not fit joints of this shape or the similarity is unknown."""
    _, heads, _, joints, _ = shape
    channels = [output.shape[-1] for output in outputs]
    expected = [2 * joints] + [joints] * (heads - 1)
    if channels != expected:
        raise ValueError(
            f"`outputs` (of {channels} channels) must have {expected} for {joints} joints at {heads} resolutions"
        )
    if similarity not in SIMILARITIES:
        raise ValueError(f"`similarity` (={similarity!r}) must be one of {', '.join(SIMILARITIES)}")
