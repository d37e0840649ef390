"""The default configuration of a network; hrnet_jax/configuration.py documents every field.

    python train.py --config configs/default.py[:simple_baseline|:hourglass|:cpn|...] --workdir runs/default

It trains from scratch on COCO: HRNet-W32 at 256x192, SimpleBaseline or CPN ResNet-50, or an 8-stack Hourglass.
"""

from ml_collections import ConfigDict

from hrnet_jax import configuration


def get_config(network: str = "hrnet") -> ConfigDict:
    """Returns the defaults."""
    return configuration.default(network)
