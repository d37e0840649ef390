"""HRNet human pose estimation in JAX and Flax, number for number the original where it claims to be.

Reading order: ``configuration``; on the host ``skeletons``, ``geometry``, ``augment``, ``datasets``, ``pipeline``;
on the device ``heatmap``, ``losses``, ``codecs``, ``models``, ``optimizer``, ``training``, ``inference``; then
``sharding``, ``checkpoint``, ``evaluation``, ``tasks``, ``run``, and the programs ``train.py`` and ``eval.py``.

Shape letters: ``B`` batch, ``K`` joints, ``H, W`` image, ``h, w`` heatmap (a quarter of it), ``N`` people.

``load`` makes a ``Predictor``, which returns the ``Poses`` in a photo.

Coordinates are ``(x, y)`` with pixel centres at whole numbers, in one of three units: photo pixels (the
original picture), crop pixels (the box cut out for the network), heatmap pixels (crop pixels / 4; not in `udp`).
Sizes are ``(height, width)``; arrays of pixels are ``[..., height, width, channels]``.
"""

import importlib
import typing

__version__ = "0.2.0"

if typing.TYPE_CHECKING:
    from hrnet_jax.predict.opening import load as load
    from hrnet_jax.predict.poses import Poses as Poses
    from hrnet_jax.predict.predictor import Predictor as Predictor

_EXPORTED = {"load": "opening", "Poses": "poses", "Predictor": "predictor"}


def __getattr__(name: str) -> typing.Any:
    """Imports what predicts when it is used. Importing the package alone imports nothing else."""
    if name in _EXPORTED:
        return getattr(importlib.import_module(f"hrnet_jax.predict.{_EXPORTED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
