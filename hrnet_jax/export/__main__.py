"""Exports a trained network to a file for other programs. The suffix of the file decides the format.

    python -m hrnet_jax.export runs/w32 w32.safetensors         weights and a model card
    python -m hrnet_jax.export runs/w32 w32.onnx                images to heatmaps, for ONNX Runtime and others
    python -m hrnet_jax.export runs/w32 w32.stablehlo           images to heatmaps, for JAX without this package
    python -m hrnet_jax.export runs/w32 w32.stablehlo --joints  crops to joints in the photo, likewise

The file is run and compared with the network before it appears. docs/export.md says how to use each.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from hrnet_jax import codecs, console, heatmap
from hrnet_jax.export import trained, write
from hrnet_jax.export.description import HEATMAPS, JOINTS
from hrnet_jax.models import layers


def image_size(text: str) -> tuple[int, int]:
    """Parses ``256x192``: height and width."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} must be height x width in pixels, such as 256x192")
    return int(found[1]), int(found[2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and exports."""
    parser = argparse.ArgumentParser(
        prog="python -m hrnet_jax.export", description="Exports a trained network to a file for other programs."
    )
    parser.add_argument("source", metavar="SRC", help="a run directory, checkpoint, .pth or .safetensors file")
    suffixes = ", ".join(write.SUFFIXES)
    parser.add_argument("target", metavar="OUT", help=f"a name ending in {suffixes}; must not exist")
    parser.add_argument("--joints", action="store_true", help="export the whole step to joints (.stablehlo)")
    parser.add_argument("--image_size", type=image_size, help="height x width of crops; default: that of the run")
    parser.add_argument("--no_flip_test", action="store_true", help="predict without the mirrored image")
    parser.add_argument("--decoder", default="", choices=sorted(heatmap.DECODERS), help="from heatmaps to joints")
    parser.add_argument("--network", default="", help="`module:name` of a network outside this package")
    parser.add_argument("--skeleton", default="", help="the joints: a name such as coco, or a JSON file")
    parser.add_argument("--colors", default="", choices=layers.COLORS, help="colour order of the network's input")
    parser.add_argument("--codec", default="", choices=codecs.CODECS, help="that the network was trained with")
    parser.add_argument("--averaged", action="store_true", help="export the moving average of a run's weights")
    args = parser.parse_args(arguments)
    if args.network:
        sys.path.append(os.getcwd())  # as `hrnet convert` does
    output = JOINTS if args.joints else HEATMAPS
    write.check_target(args.target, output)
    names = ("image_size", "decoder", "network", "skeleton", "colors", "codec")
    options = {name: getattr(args, name) for name in names}
    flip_test = False if args.no_flip_test else None
    network = trained.load(args.source, **options, flip_test=flip_test, averaged=args.averaged)
    print(f"{args.source} -> {args.target}\n{network.report}", flush=True)
    for note in write.write(network, args.target, output):
        print(f"  {note}")


if __name__ == "__main__":
    console.run(main)
