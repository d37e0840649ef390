"""An ensemble as one network: ``vmap`` over stacked weights."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from examples import functions, start
from hrnet_jax import console, heatmap
from hrnet_jax.models import layers


def stack(members: Sequence[Any]) -> Any:
    """Stacks the variables of networks with the same shapes: each array gets a leading axis of members."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def ensemble(predict: functions.Predict) -> functions.Predict:
    """Returns (stacked variables, images) -> heatmaps ``[M, B, h, w, K]`` of the M members."""
    return jax.vmap(predict, in_axes=(0, None))


def from_arguments(description: str | None, arguments: Sequence[str] | None) -> tuple[start.Start, Any]:
    """Reads the command line of an example with an ensemble. Returns its start and the stacked variables."""
    parser = start.parser(description)
    parser.add_argument("--members", nargs="+", default=[], help="more checkpoints of the same architecture")
    args = parser.parse_args(arguments)
    at = start.from_arguments(args)
    members = [start.load(path)[1] for path in args.members]
    if not args.checkpoint:
        members = [start.random_variables(at.model, seed) for seed in (1, 2, 3)]
    return at, stack([at.variables, *members])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints how far apart the members see each joint."""
    at, members = from_arguments(__doc__, arguments)
    heatmaps = jax.jit(ensemble(functions.make_predict(at.model)))(members, at.batch["image"])
    joints, _ = jax.vmap(heatmap.decode)(heatmaps)
    spread = layers.STRIDE * jnp.linalg.norm(joints.std(0), axis=-1).mean(0)
    for name, distance in zip(at.skeleton.joints, spread, strict=True):
        print(f"{name:<16} {distance:5.1f} crop pixels between {len(heatmaps)} members")


if __name__ == "__main__":
    console.run(main)
