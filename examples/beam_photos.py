"""Poses in a folder of photos with Apache Beam: ``python -m examples.beam_photos --photos FOLDER ...``."""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam  # pyright: ignore[reportMissingImports]
from apache_beam.io import WriteToText  # pyright: ignore[reportMissingImports]
from apache_beam.ml.inference.base import ModelHandler, RunInference  # pyright: ignore[reportMissingImports]
from apache_beam.options.pipeline_options import PipelineOptions  # pyright: ignore[reportMissingImports]

import hrnet_jax
from hrnet_jax import console
from hrnet_jax.predict import sources

BATCH_SIZE = 256
"""Photos per call of the handler. Only the last of the network's batches in a call is padded."""


class PoseModelHandler(ModelHandler[str, str, hrnet_jax.Predictor]):
    """Predicts batches of photos. `RunInference` loads the network once per process."""

    def __init__(self, checkpoint: str, boxes: str):
        super().__init__(min_batch_size=BATCH_SIZE, max_batch_size=BATCH_SIZE)
        self._checkpoint, self._boxes = checkpoint, boxes

    def load_model(self) -> hrnet_jax.Predictor:
        """Loads the network and finds the boxes as `--boxes` says."""
        return hrnet_jax.load(self._checkpoint, self._boxes)

    def run_inference(
        self, batch: Sequence[str], model: hrnet_jax.Predictor, inference_args: dict[str, Any] | None = None
    ) -> Iterator[str]:
        """Maps paths to lines of JSON: `Poses.to_json`, or ``{"source", "error"}`` for an unreadable photo."""
        found = {}

        def on_error(path: str, error: Exception) -> None:
            found[path] = {"error": str(error)}

        for poses in model.stream(batch, on_error):
            found[poses.source] = poses.to_json()
        return (json.dumps({"source": path, **found[path]}) for path in batch)


def predict_folder(
    photos: str, checkpoint: str, out: str, boxes: str = "whole", options: Sequence[str] = ()
) -> None:
    """Writes the poses in all photos below a folder to ``out/poses-*.jsonl``. `options` are those of Beam."""
    paths = [path for path in sources.find([photos]).paths if not sources.is_video(path)]
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        lines = pipeline | beam.Create(paths) | RunInference(PoseModelHandler(checkpoint, boxes))
        _ = lines | WriteToText(os.path.join(out, "poses"), file_name_suffix=".jsonl")


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line. Options that are not ours go to Beam."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    for name in ("photos", "checkpoint", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--boxes", default="whole", help="whole, DETECTOR.onnx or BOXES.json")
    given, options = parser.parse_known_args(arguments)
    predict_folder(**vars(given), options=options)


if __name__ == "__main__":
    console.run(main)
