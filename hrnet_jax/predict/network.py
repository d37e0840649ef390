"""What predicts crops: a network with its settings."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from hrnet_jax import augment, codecs, geometry
from hrnet_jax.datasets import records
from hrnet_jax.export.description import Settings
from hrnet_jax.skeletons import Skeleton

Step = Callable[[np.ndarray, np.ndarray], tuple[jax.typing.ArrayLike, ...]]
"""(images [B, H, W, 3] uint8, or [B, V, H, W, 3] with views, photo_to_crop [B, 2, 3] float32) -> joints [B, K, 2]
in photo pixels, scores [B, K], and heatmaps [B, H / 4, W / 4, K] if the network `has_heatmaps`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A network that predicts joints in photo pixels.

    Attributes:
      step: predicts a batch, always of the same size.
      image_size: (height, width) of the crops.
      skeleton: of the K joints.
      has_heatmaps: whether `step` also returns heatmaps.
      precision: of the crops' centre and scale, see `geometry`.
      by_corners: how crops lie in the photo, see `geometry.extract`.
      views: of each person, from `views.make`. Images are then ``[B, V, H, W, 3]``.
    """

    step: Step
    image_size: tuple[int, int]
    skeleton: Skeleton
    has_heatmaps: bool = True
    precision: type[np.floating] = np.float32
    by_corners: bool = False
    views: Sequence[augment.Draw] = ()

    def crop(self, photo: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the network's images of the person in a box, and the map from photo to crop pixels."""
        where = (photo, box, self.image_size, self.precision)
        plain = geometry.crop(*where, by_corners=self.by_corners)
        if not self.views:
            return plain
        others = [
            geometry.crop(*where, scale_factor=v.scale_factor, rotation=v.rotation, by_corners=self.by_corners)[0]
            for v in self.views[1:]
        ]
        return np.stack([plain[0], *others]), plain[1]


def make_network(
    step: Step, settings: Settings, *, has_heatmaps: bool, views: Sequence[augment.Draw] = ()
) -> Network:
    """Returns the network of a step. Crops have the precision of the data set that the joints are of."""
    skeleton = settings.skeleton
    precision = records.PRECISION.get(skeleton.name, np.float32)
    by_corners = codecs.CODECS[settings.codec].by_corners
    return Network(step, settings.image_size, skeleton, has_heatmaps, precision, by_corners, views)
