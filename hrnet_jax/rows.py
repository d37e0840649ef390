"""Published rows: their configurations, figures and commands.

    python -m hrnet_jax.rows [--markdown]

lists all rows of the tables in ``configs/`` with parameters, multiply-adds, the published figure and the command.
"""

import argparse
import dataclasses
import functools
import importlib.util
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import codecs, configuration, console, models

TABLES = ("coco", "ablations", "mpii", "data_sets", "posetrack")
"""Files in ``configs/`` that hold tables of rows."""

SIGMA, HEIGHT = 2.0, 256
"""Heatmap pixels at an image height. The release has 2 at 256 and 3 at 384; between and below, sigma is scaled."""

TRACED = (256, 256)
"""Image size at which networks are counted."""

LARGE, LARGE_KERNELS = 384, tuple(2 * radius + 1 for radius in (11, 8, 6, 4))
"""Image height from which the targets of CPN are wider, and heatmap pixels of the kernels that blur them there."""


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


@functools.cache
def counts(model: nn.Module) -> tuple[int, float, float]:
    """Returns parameters, and multiply-adds per pixel of the image: as published, and those that are done.

    They are the same per pixel at every size; tracing a network takes seconds. See `models.count_multiply_adds`.
    """
    both = (models.count_multiply_adds(model, TRACED, done=done) for done in (False, True))
    counted, done = (count / (TRACED[0] * TRACED[1]) for count in both)
    return models.count_parameters(model, TRACED), counted, done


def listing() -> Iterator[tuple[str, str, str, str, str]]:
    """Yields the cells of the list: config, network, parameters, multiply-adds, published figure."""
    for table in TABLES:
        for name, row in load(table).items():
            config = row.config()
            parameters, *per_pixel = counts(models.build(config))
            height, width = config.image_size
            counted, done = (f"{count * height * width / 1024**3:.2f} G" for count in per_pixel)
            figures = [f"{metric} {value}" for metric, value in row.published.items()]
            yield (
                f"configs/{table}.py:{name}",
                models.title(config.model),
                f"{parameters / 1e6:.1f} M",
                counted if done == counted else f"{counted}, {done} done",
                (figures or ["none"])[0],
            )


def main() -> None:
    """Lists all rows."""
    parser = argparse.ArgumentParser(prog="python -m hrnet_jax.rows", description="Lists all published rows.")
    parser.add_argument("--markdown", action="store_true", help="print the table of the README")
    markdown = parser.parse_args().markdown
    header = ("config", "network", "parameters", "multiply-adds", "published")
    for config, *cells in [header, *listing()]:
        if markdown:
            print(" | ".join([f"| `{config}`" if "/" in config else f"| {config}", *cells]) + " |")
            if config == header[0]:
                print("|---" * len(header) + "|")
        else:
            workdir = config.removeprefix("configs/").replace(".py:", "_")
            command = f"python train.py --config {config} --workdir runs/{workdir}"
            cells = [f"{config:<44}{cells[0]:<26}", *cells[1:], command if "/" in config else "command"]
            print("  ".join(cells), flush=True)


if __name__ == "__main__":
    console.run(main)
