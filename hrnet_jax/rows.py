"""Published rows: their configurations, figures and commands.

    python -m hrnet_jax.rows [--markdown]

lists all rows of the tables in ``configs/`` with parameters, multiply-adds, the published figure, the command, and
an estimate of memory and time of a training step of 128 people in bfloat16 on one chip.

The estimate is made of counts; nothing is compiled. Time is that of the multiply-adds of three passes, at the
share of the chip's peak that HRNet-W32 reaches by the compiler's estimate. Memory is weights, gradients and Adam's
averages, and twice the outputs of all convolutions. Of HRNet-W32 that is 10.2 GB, where the chip's compiler needs
8.4 and, between the batches measured there, that of an H100 10.2 (docs/performance.md).
"""

import argparse
import dataclasses
import functools
import importlib.util
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import codecs, configuration, console, devices, models

TABLES = ("coco", "ablations", "mpii", "data_sets", "posetrack", "higher_hrnet")
"""Files in ``configs/`` that hold tables of rows."""

SIGMA, HEIGHT = 2.0, 256
"""Heatmap pixels at an image height. The release has 2 at 256 and 3 at 384; between and below, sigma is scaled."""

TRACED = (256, 256)
"""Image size at which networks are counted."""

CHIP, PEOPLE = "TPU v5e", 128
"""What steps are estimated for; see `hrnet_jax.devices`."""

SHARE = 0.228
"""Of the chip's peak, that the multiply-adds of HRNet-W32 use at 980 people/s (docs/tpu.md)."""

LARGE, LARGE_KERNELS = 384, tuple(2 * radius + 1 for radius in (11, 8, 6, 4))
"""Image height from which the targets of CPN are wider, and heatmap pixels of the kernels that blur them there."""


HEADER = ("config", "network", "parameters", "multiply-adds", f"step of {PEOPLE} on a {CHIP}", "published")
LOSS = "mse"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a paper.

    Attributes:
      changes: fields that differ from the defaults of the network, by full name; ``model.name`` is the network.
      published: figures by metric, empty if none are published.
      source: of the figures.
    """

    changes: Mapping[str, Any]
    published: Mapping[str, float]
    source: str

    def config(self) -> ConfigDict:
        """Returns the configuration of the row."""
        config = configuration.default(self.changes["model.name"])
        config.update_from_flattened_dict(self.changes)
        return config


def hrnet(
    width: int, image_size: tuple[int, int], *, pretrained: bool = True, codec: str = codecs.ORIGINAL
) -> dict[str, Any]:
    """Returns the changes of an HRNet row with a codec; it starts from ImageNet weights if `pretrained`."""
    weights = f"weights/hrnet_w{width}_imagenet.pth" if pretrained else ""
    changes = {"model.name": "hrnet", "model.width": width, "init_from": weights}
    return _at_size(image_size) | changes | ({} if codec == codecs.ORIGINAL else {"codec": codec})


def ablation(width: int, image_size: tuple[int, int], variant: str) -> dict[str, Any]:
    """Returns the changes of a row of a variant of HRNet, from scratch; see `hrnet_jax.models.ablation`."""
    network = {"model.name": "hrnet_ablation", "model.variant": variant}
    return hrnet(width, image_size, pretrained=False) | network


def resolutions(width: int, image_size: tuple[int, int], heads: tuple[int, ...]) -> dict[str, Any]:
    """Returns the changes of a row of HRNet with these heads; see `hrnet_jax.models.resolutions`."""
    return hrnet(width, image_size) | {"model.name": "hrnet_resolutions", "model.heads": heads}


def simple_baseline(depth: int, image_size: tuple[int, int]) -> dict[str, Any]:
    """Returns the changes of a SimpleBaseline row (Xiao et al. 2018, section 4.1)."""
    weights = f"weights/resnet{depth}_imagenet.pth"
    schedule = {"epochs": 140, "learning_rate_drops": (90, 120)}
    augmentation = {"augment.scale": 0.3, "augment.rotation": 40.0, "augment.half_body": 0.0}
    network = {"model.name": "simple_baseline", "model.depth": depth, "init_from": weights}
    return _at_size(image_size) | schedule | augmentation | network


def hourglass(stacks: int, image_size: tuple[int, int]) -> dict[str, Any]:
    """Returns the changes of a row of the stacked Hourglass: the training of HRNet, from scratch."""
    return _at_size(image_size) | {"model.name": "hourglass", "model.stacks": stacks}


def cpn(depth: int, image_size: tuple[int, int], *, ohkm: bool = True) -> dict[str, Any]:
    """Returns the changes of a CPN row: HRNet's training, with hard keypoints mined in RefineNet if `ohkm`."""
    weights, loss = f"weights/resnet{depth}_imagenet.pth", "ohkm" if ohkm else "mse"
    network = {"model.name": "cpn", "model.depth": depth, "init_from": weights}
    kernels = {"model.kernels": LARGE_KERNELS} if image_size[0] >= LARGE else {}
    return {"image_size": image_size, "loss": loss} | network | kernels


def higher_hrnet(width: int, side: int, *, deconvolutions: int = 1) -> dict[str, Any]:
    """Returns the changes of a row of HigherHRNet, which reads square windows of photos (Cheng et al. 2020)."""
    weights = f"weights/hrnet_w{width}_imagenet.pth"
    network = {"model.name": "higher_hrnet", "model.width": width, "model.deconvolutions": deconvolutions}
    return {"image_size": (side, side), "init_from": weights} | network


def _at_size(image_size: tuple[int, int]) -> dict[str, Any]:
    return {"image_size": image_size, "heatmap.sigma": SIGMA * image_size[0] / HEIGHT}


def select(rows: Mapping[str, Row], name: str) -> ConfigDict:
    """Returns the configuration of a row by its name.

    Raises:
      ValueError: there is no such row.
    """
    if name not in rows:
        raise ValueError(f"there is no row {name!r}: choose one of {', '.join(rows)}")
    return rows[name].config()


def directory() -> pathlib.Path:
    """Returns the directory of the configurations: beside this package, or inside it once installed."""
    package = pathlib.Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def load(table: str) -> dict[str, Row]:
    """Returns the rows of a table in ``configs/`` by name."""
    path = directory() / f"{table}.py"
    spec = importlib.util.spec_from_file_location(f"hrnet_jax_configs_{table}", path)
    module = importlib.util.module_from_spec(spec)  # pyright: ignore[reportArgumentType]
    spec.loader.exec_module(module)  # pyright: ignore[reportOptionalMemberAccess]
    return module.ROWS


class Counts(NamedTuple):
    """Counts of a network for one image; see `models`."""

    parameters: int
    multiply_adds: float  # as published
    done: float
    outputs: float

    def step(self, people: int, chip: devices.Chip) -> tuple[float, float]:
        """Estimates memory in bytes and time in seconds of a training step in bfloat16."""
        kept = 4 * 4 * self.parameters + 2 * 2 * self.outputs * people
        return kept, 3 * 2 * self.done * people / (SHARE * chip.operations)


def count(config: ConfigDict) -> Counts:
    """Counts the network of a configuration at its image size."""
    parameters, *per_pixel = _per_pixel(models.build(config))
    return Counts(parameters, *(number * math.prod(config.image_size) for number in per_pixel))


@functools.cache
def _per_pixel(model: nn.Module) -> tuple[int, float, float, float]:
    """Returns `Counts` per pixel, which are the same at every size; tracing a network takes seconds."""
    both = [models.count_multiply_adds(model, TRACED, done=done) for done in (False, True)]
    counted, done, outputs = (n / math.prod(TRACED) for n in (*both, models.count_outputs(model, TRACED)))
    return models.count_parameters(model, TRACED), counted, done, outputs


def title(config: ConfigDict) -> str:
    """Returns the name of a network, and codec and loss where they are not HRNet's."""
    return distinguish(models.title(config.model), config)


def distinguish(name: str, config: ConfigDict) -> str:
    """Returns a name, and codec and loss where they are not HRNet's."""
    codec, loss = config.get("codec", codecs.ORIGINAL), config.get("loss", LOSS)
    return ", ".join([name, *[codec] * (codec != codecs.ORIGINAL), *[loss] * (loss != LOSS)])


def listing() -> Iterator[tuple[str, ...]]:
    """Yields the cells of the list, see `HEADER`."""
    for table in TABLES:
        for name, row in load(table).items():
            config = row.config()
            found = count(config)
            counted, done = (f"{number / 1024**3:.2f} G" for number in (found.multiply_adds, found.done))
            memory, seconds = found.step(PEOPLE, devices.CHIPS[CHIP])
            figures = [f"{metric} {value}" for metric, value in row.published.items()]
            yield (
                f"configs/{table}.py:{name}",
                title(config),
                f"{found.parameters / 1e6:.1f} M",
                counted if done == counted else f"{counted}, {done} done",
                f"{memory / 1e9:.1f} GB, {1e3 * seconds:.0f} ms",
                (figures or ["none"])[0],
            )


def main() -> None:
    """Lists all rows."""
    parser = argparse.ArgumentParser(prog="python -m hrnet_jax.rows", description="Lists all published rows.")
    parser.add_argument("--markdown", action="store_true", help="print the table of the README")
    markdown = parser.parse_args().markdown
    for config, *cells in [HEADER, *listing()]:
        if markdown:
            print(" | ".join([f"| `{config}`" if "/" in config else f"| {config}", *cells]) + " |")
            if config == HEADER[0]:
                print("|---" * len(HEADER) + "|")
        else:
            workdir = config.removeprefix("configs/").replace(".py:", "_")
            command = f"python train.py --config {config} --workdir runs/{workdir}"
            cells = [f"{config:<44}{cells[0]:<34}", *cells[1:], command if "/" in config else "command"]
            print("  ".join(cells), flush=True)


if __name__ == "__main__":
    console.run(main)
