"""Poses in a folder of photos with Ray Data: ``python -m examples.ray_photos --photos FOLDER ...``."""

import argparse
import json
import os
from collections.abc import Sequence

import numpy as np
import ray.data  # pyright: ignore[reportMissingImports]

import hrnet_jax
from hrnet_jax import console
from hrnet_jax.predict import sources

BATCH_SIZE = 256
"""Photos per call of an actor. Only the last of the network's batches in a call is padded."""


class PosePredictor:
    """Predicts batches of photos. Each actor makes one and loads the network once."""

    def __init__(self, checkpoint: str, boxes: str):
        self._predictor = hrnet_jax.load(checkpoint, boxes)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """Maps paths to lines of JSON: `Poses.to_json`, or ``{"source", "error"}`` for an unreadable photo."""
        paths, found = batch["path"].tolist(), {}

        def on_error(path: str, error: Exception) -> None:
            found[path] = {"error": str(error)}

        for poses in self._predictor.stream(paths, on_error):
            found[poses.source] = poses.to_json()
        return {"line": [json.dumps({"source": path, **found[path]}) for path in paths]}


def predict_folder(
    photos: str,
    checkpoint: str,
    out: str,
    boxes: str = "whole",
    *,
    actors: int = 1,
    cpus: float = 1,
    gpus: float = 0,
) -> None:
    """Writes the poses in all photos below a folder to ``out/poses.jsonl``. `cpus` and `gpus` are per actor."""
    paths = [path for path in sources.find([photos]).paths if not sources.is_video(path)]
    lines = ray.data.from_items([{"path": path} for path in paths]).map_batches(
        PosePredictor,
        fn_constructor_args=(checkpoint, boxes),
        batch_size=BATCH_SIZE,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "poses.jsonl"), "w") as file:
        file.writelines(f"{row['line']}\n" for row in lines.iter_rows())


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    for name in ("photos", "checkpoint", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--boxes", default="whole", help="whole, DETECTOR.onnx or BOXES.json")
    parser.add_argument("--actors", type=int, default=1, help="processes, each with its own network")
    parser.add_argument("--cpus", type=float, default=1, help="of each actor")
    parser.add_argument("--gpus", type=float, default=0, help="of each actor")
    predict_folder(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    console.run(main)
