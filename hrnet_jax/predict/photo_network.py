"""Networks that find all people of a photo, compiled by JAX for one or more devices."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hrnet_jax import configuration, models, sharding
from hrnet_jax.bottom_up import aggregation, inference, resize
from hrnet_jax.datasets import photos
from hrnet_jax.export.trained import Trained
from hrnet_jax.run import memory
from hrnet_jax.tasks import bottom_up
from hrnet_jax.torch_interop import loading

_COPIES = 3  # of the maps at base size that are held at once, while they are merged and read


class DoesNotFit(ValueError):
    """The images of a photo are larger than OpenCV or the memory of a device allows."""


class PhotoNetwork:
    """A network that finds all people of a photo.

    Args:
      forward: from `inference.compile_forward`.
      variables: ``params`` and ``batch_stats``, on the devices.
      settings: how people are found.
      mesh: of devices.
      batch_size: photos at a time.
    """

    def __init__(
        self,
        forward: inference.Forward,
        variables: Mapping[str, Any],
        settings: inference.Settings,
        mesh: Mesh,
        batch_size: int,
    ):
        self.variables, self.settings, self.batch_size = variables, settings, batch_size
        self._mesh: Mesh = mesh
        self._traced: Any = forward
        self._programs: dict[resize.Size, jax.stages.Compiled] = {}
        self._needs: dict[tuple[resize.Size, ...], int] = {}

    def forward(self, variables: Any, image: jax.typing.ArrayLike) -> aggregation.Passes:
        """Runs the network on a batch of images ``[B, H, W, 3]`` uint8."""
        placed = sharding.place_batch({"image": np.asarray(image)}, self._mesh)["image"]
        _, height, width, _ = placed.shape
        return self._program((height, width))(variables, placed)

    def plan(self, photo_size: resize.Size) -> resize.Plan:
        """Plans the images of a photo. Raises DoesNotFit if one has a side that OpenCV cannot make."""
        try:
            return self.settings.plan(photo_size)
        except ValueError as error:  # the scales were checked before
            most = (photos.MAX_SIDE - 2 * resize.BLOCK) * min(photo_size) / max(photo_size)
            limit = f"its image would have more than {photos.MAX_SIDE:,} pixels a side"
            raise DoesNotFit(f"{limit}: {self._smaller(most)}") from error

    def check_memory(self, plan: resize.Plan) -> None:
        """Raises DoesNotFit if a batch of photos needs more memory than a device has, with what needs less."""
        needs, has = self._needed(plan.sizes), memory.available(self._mesh)
        if needs <= has:
            return
        height, width = plan.placements[0].size
        largest = self.settings.input_size * max(self.settings.scales)
        fewer = f"give a --batch_size below {self.batch_size}; or " if self.batch_size > self._mesh.size else ""
        raise DoesNotFit(
            f"{self.batch_size} images of {width}x{height} need {memory.gigabytes(needs)} on each device, which"
            f" has {memory.gigabytes(has)}: {fewer}{self._smaller(largest * (has / needs) ** 0.5)}"
        )

    def _smaller(self, most: float) -> str:
        """Returns the way out where the short side of the largest image may have up to so many pixels."""
        size = int(most / max(self.settings.scales)) // resize.BLOCK * resize.BLOCK
        if size < resize.BLOCK:
            return "cut the photo into several"
        scales = ", or --scales up to 1" * (max(self.settings.scales) > 1)
        return f"give --image_size {size}{scales}, or cut the photo into several"

    def _needed(self, sizes: Sequence[resize.Size]) -> int:
        """Returns about how many bytes a batch needs on each device, given `resize.Plan.sizes`."""
        if (key := tuple(sizes)) not in self._needs:
            (height, width), *images = key
            joints, components = self.settings.skeleton.num_joints, 2 + self.settings.flip_test
            pixels = _COPIES * height * width + sum(height * width for height, width in images) // 4
            maps = (
                np.dtype(np.float32).itemsize * joints * components * pixels * self.batch_size // self._mesh.size
            )
            self._needs[key] = maps + max(memory.needed_by(self._program(size)) for size in images)
        return self._needs[key]

    def _program(self, size: resize.Size) -> jax.stages.Compiled:
        """Returns the program for images of a size, compiled once."""
        if size not in self._programs:
            shape = (self.batch_size, *size, 3)
            image = jax.ShapeDtypeStruct(shape, np.uint8, sharding=sharding.by_person(self._mesh))
            self._programs[size] = self._traced.lower(self.variables, image).compile()
        return self._programs[size]


def compile_photo_network(
    trained: Trained,
    mesh: Mesh,
    batch_size: int,
    *,
    dtype: str = "float32",
    scales: Sequence[float] = (1.0,),
    options: Mapping[str, Any],
) -> PhotoNetwork:
    """Puts a trained network on the devices of a mesh. It is compiled at the first photo of each size.

    Args:
      trained: the network.
      mesh: of devices.
      batch_size: photos at a time.
      dtype: precision of the activations, a key of `models.DTYPES`.
      scales: of the images.
      options: fields below ``eval`` of a configuration that are to differ from those of the network's run.

    Raises:
      ValueError: an option or scale is wrong, or the image size is not square.
    """
    if dtype not in models.DTYPES:
        raise ValueError(f"`dtype` (={dtype!r}) must be one of {', '.join(models.DTYPES)}")
    height, width = trained.settings.image_size
    if height != width:
        raise ValueError(
            f"`image_size` (={height}, {width}) is the short side of images of whole photos: give one number, such"
            f" as --image_size {min(height, width)}"
        )
    usual = configuration.default(trained.network["name"]).eval.to_dict()
    chosen = {**usual, **trained.of_photos, "flip_test": trained.settings.flip_test, **options}
    settings = bottom_up.photo_settings(chosen, trained.settings.skeleton, height, tuple(scales))
    model = loading.build(trained.network, dtype=models.DTYPES[dtype])
    variables = sharding.place_state(trained.variables, mesh)
    return PhotoNetwork(inference.compile_forward(model, settings), variables, settings, mesh, batch_size)
