"""Heads of weights for other joints: the channels of joints with the same names are carried over."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import codecs, models, skeletons
from hrnet_jax.torch_interop import loading
from hrnet_jax.torch_interop.state_dict import Weights


def carry_over(variables: Mapping[str, Any], weights: Weights, description: Mapping[str, Any]) -> Weights:
    """Returns weights for the joints of a network, made of weights for others.

    Joints of other names keep the initial values of `variables`. A note names both. Weights that do not name their
    joints, have none of the network's or another codec are returned unchanged, and so are those of a bottom-up
    network, whose layers have channels of tags, too. For the description see `models.describe`.
    """
    here, there = list(description.get("joints", ())), list(weights.description.get("joints", ()))
    sources = np.array(skeletons.sources_of_joints(here, there), int)
    network = models.find(description["name"])
    if here == there or network.bottom_up or not (sources >= 0).any():
        return weights
    own = loading.to_pytorch(variables)
    maps = codecs.find(description.get("codec", codecs.ORIGINAL)).maps
    heads = network.head(own), network.head(weights.tensors)
    if [None if head is None else len(head) for head in heads] != [maps * len(here), maps * len(there)]:
        return weights
    channels = np.where(sources >= 0, sources * maps, -maps)[:, None] + np.arange(maps)
    changed = {
        name: _carry(own[name], tensor, channels.ravel(), maps * len(there))
        for name, tensor in weights.tensors.items()
        if name in own and name.startswith(network.joint_layers)
    }
    description = {**weights.description, "joints": here}
    notes = (*weights.notes, _note(here, sources))
    return dataclasses.replace(
        weights, tensors={**weights.tensors, **changed}, description=description, notes=notes
    )


def _carry(own: np.ndarray, tensor: np.ndarray, channels: np.ndarray, count: int) -> np.ndarray:
    """Returns a tensor with the network's channels, along the first axis that has one for each of `count`.

    `channels` are their numbers in the weights, negative for those that keep the values of `own`.
    """
    if own.ndim != tensor.ndim:
        return tensor
    sizes = zip(own.shape, tensor.shape, strict=True)
    axis = next((axis for axis, both in enumerate(sizes) if both == (len(channels), count)), None)
    if axis is None:
        return tensor
    known = channels >= 0
    made = np.moveaxis(own.astype(tensor.dtype), axis, 0)
    made[known] = np.moveaxis(tensor, axis, 0)[channels[known]]
    return np.moveaxis(made, 0, axis)


def _note(joints: Sequence[str], sources: np.ndarray) -> str:
    carried = [joint for joint, source in zip(joints, sources, strict=True) if source >= 0]
    fresh = [joint for joint in joints if joint not in carried]
    text = f"the head's channels of {len(carried)} joints are carried over by name ({', '.join(carried)})"
    return text + f"; newly initialised: {', '.join(fresh)}" * bool(fresh)
