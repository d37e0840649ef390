"""Networks of this package, compiled by JAX for one or more devices."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hrnet_jax import augment, codecs, devices, inference, models, sharding
from hrnet_jax.export.description import Settings
from hrnet_jax.export.trained import Trained
from hrnet_jax.predict.network import Network, make_network
from hrnet_jax.torch_interop import loading


def compile_network(
    members: Sequence[Trained], mesh: Mesh, dtype: str = "float32", views: Sequence[augment.Draw] = ()
) -> Network:
    """Puts trained networks on the devices of a mesh. They are compiled at their first batch, as one program.

    Args:
      members: one network, or those of an ensemble, whose heatmaps are averaged.
      mesh: of devices.
      dtype: precision of the activations, a key of `models.DTYPES`.
      views: of each person, from `views.make`.

    Raises:
      ValueError: the precision is unknown, or a member is for whole photos, or they do not belong together.
    """
    for member in members:
        if models.find(member.network["name"]).bottom_up:
            raise ValueError(
                f"{member.source!r} is a network that finds all people of a photo, and this is for one person in a"
                " crop: give another"
            )
    if dtype not in models.DTYPES:
        raise ValueError(f"`dtype` (={dtype!r}) must be one of {', '.join(models.DTYPES)}")
    settings = _common_settings(members)
    built = [loading.build(member.network, dtype=models.DTYPES[dtype]) for member in members]
    variables = sharding.place_state([member.variables for member in members], mesh)

    @functools.partial(jax.jit, compiler_options=devices.compiler_options(mesh.local_devices[0]))
    def predict(variables, image, photo_to_crop):
        heatmaps = inference.predict_heatmaps(built, variables, image, views=views, **settings.options)
        reading = {"decoder": settings.decoder, "codec": settings.codec}
        found = codecs.decode_in_photo(heatmaps, photo_to_crop, settings.image_size, **reading)
        return *found, heatmaps[..., :: codecs.CODECS[settings.codec].maps]

    def step(image: np.ndarray, photo_to_crop: np.ndarray) -> tuple[jax.Array, ...]:
        batch = sharding.place_batch({"image": image, "crop": photo_to_crop}, mesh)
        return predict(variables, batch["image"], batch["crop"])

    return make_network(step, settings, has_heatmaps=True, views=views)


_WAYS_OUT = {"image_size": "--image_size", "decoder": "--decoder", "flip_test": "--flip_test"}
"""Options that give all members of an ensemble the same setting."""


def _common_settings(members: Sequence[Trained]) -> Settings:
    """Returns the settings of the members of an ensemble. Raises ValueError where they differ."""
    first, *others = members
    expected = _common(first)
    for other in others:
        for name, here in _common(other).items():
            if here != expected[name]:
                raise ValueError(
                    f"heatmaps of {first.source!r} and {other.source!r} cannot be averaged: `{name}` is"
                    f" {expected[name]!r:.200} there and {here!r:.200} here; {_way_out(name)}"
                )
    return first.settings


def _common(member: Trained) -> dict[str, Any]:
    """Returns what the members of an ensemble have in common, by name."""
    settings, stride = member.settings, models.strides(member.network)[-1]
    found = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Settings)}
    return found | {"skeleton": settings.skeleton.joints, "stride": stride}


def _way_out(setting: str) -> str:
    """Returns what to do where a setting differs."""
    option = _WAYS_OUT.get(setting)
    return f"give {option} for all" if option else "leave one of them out"
