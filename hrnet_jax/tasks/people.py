"""People of prepared splits: to train on, and to be evaluated on."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import augment, codecs, inference, models, pipeline
from hrnet_jax.datasets import mixing, records
from hrnet_jax.evaluation import evaluate, protocols, report


@dataclasses.dataclass(frozen=True)
class Data:
    """See `hrnet_jax.tasks.Data`."""

    config: ConfigDict
    split: records.Split

    @property
    def name(self) -> str:
        """Name of the split."""
        return self.split.name

    def __len__(self) -> int:
        return len(self.split.people)

    def digest(self) -> str:
        """Returns a digest of the split."""
        return records.digest(self.split)


def loading_hint(split: records.Split) -> str:
    """Returns how to load the photos of a split faster, as the end of a sentence."""
    stored = split.decoded is not None
    return "" if stored else ", or keep the photos decoded (`python -m hrnet_jax.prepare ... --decoded`)"


@dataclasses.dataclass(frozen=True)
class People(Data):
    """People of a split to train on; see `hrnet_jax.tasks.Examples`."""

    policy: augment.Policy
    parts: Sequence[records.Split]  # of which the split is made
    shares: pipeline.Shares

    def __len__(self) -> int:
        return pipeline.visits(self.shares)

    def digest(self) -> str:
        """Returns a digest of all parts."""
        return mixing.digest(self.parts)

    def batches(self, start_step: int) -> Iterator[pipeline.Batch]:
        """Returns an endless iterator over this process's share of the batches."""
        config = self.config
        return pipeline.train_batches(
            self.split,
            image_size=tuple(config.image_size),
            batch_size=config.batch_size,
            seed=config.seed,
            policy=self.policy,
            start_step=start_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=config.loader.threads,
            workers=config.loader.workers,
            shares=self.shares,
            by_corners=codecs.find(config.codec).by_corners,
        )

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Returns annotation and photo ids of people, and the data set of each if there are several."""
        people = self.split.people
        ids = {"annotation_ids": people.annotation_id, "photo_ids": people.photo_id}
        if len(self.parts) > 1:
            ids["data_sets"] = np.repeat([*map(mixing.name, self.parts)], [count for count, _ in self.shares])
        return {name: values[rows].tolist() for name, values in ids.items()}

    def loading_hint(self) -> str:
        """Returns how to load photos faster."""
        return loading_hint(self.split)


@dataclasses.dataclass(frozen=True)
class PoseEvaluation(Data):
    """A split to evaluate on; see `hrnet_jax.tasks.Evaluation`."""

    model: nn.Module

    @property
    def score(self) -> str:
        """AP, or PCKh for a split of MPII."""
        return self._protocol.main_metric

    @property
    def logged_score(self) -> str:
        """The score on ground-truth boxes."""
        return f"{self.split.name}/{evaluate.GT_BOXES}/{self.score}"

    @property
    def is_scored(self) -> bool:
        """False for MPII without its MATLAB ground truth, and for test splits."""
        return protocols.is_scored(self.split)

    def summary(self) -> str:
        """Returns the numbers of boxes by source."""
        counts = {source: len(people) for source, people in evaluate.box_sources(self.split).items()}
        return ", ".join(f"{count} {source}" for source, count in counts.items())

    @functools.cached_property
    def _protocol(self) -> protocols.Protocol:
        return protocols.find(self.config, self.split)

    @functools.cached_property
    def _step(self) -> inference.PredictStep:
        return evaluate.build_step(self.model, self.config)

    def metrics(self, variables: Mapping[str, Any], place: Callable) -> dict[str, float]:
        """Returns the metrics on ground-truth boxes."""
        sources = (evaluate.GT_BOXES,)
        found = evaluate.evaluate(self._step, variables, self.split, self.config, place, sources=sources)
        return evaluate.metrics(found)

    def predict(self, variables: Any, place: Callable, progress: bool) -> list[evaluate.Outcome]:
        """Predicts everyone, for every source of boxes, and if that is scored with all heatmaps of the network."""
        alternatives = models.find(self.config.model.name).alternatives(self.model) if self.is_scored else {}
        steps = {head: evaluate.build_step(model, self.config) for head, model in alternatives.items()}
        return [
            outcome
            for head, step in {"": self._step, **steps}.items()
            for outcome in evaluate.evaluate(
                step, variables, self.split, self.config, place, head=head, progress=progress
            )
        ]

    def write(
        self,
        predictions: list[evaluate.Outcome],
        variables: Any,
        directory: pathlib.Path,
        against: report.OtherRun | None,
    ) -> None:
        """Writes metrics, result files, errors of joints, pictures and the page; prints tables and files."""
        look = functools.partial(evaluate.look, self.model, variables, self.split, self.config)
        members = len(variables) if isinstance(variables, tuple) else 1
        facts = self._facts(directory, members)
        report.write(predictions, self.split, self._protocol, directory, facts, look, against)

    def _facts(self, directory: pathlib.Path, members: int) -> dict[str, str]:
        """Returns what the page says of the network and the data."""
        config, (height, width) = self.config, self.config.image_size
        flip_test = "with" if config.eval.flip_test else "without"
        ensemble = f", mean of {members} checkpoints" if members > 1 else ""
        codec = codecs.find(config.codec)
        how = f"decoder {config.eval.decoder}" if codec.decoder is None else f"codec {config.codec}"
        if (scales := tuple(config.eval.scales)) != (1.0,):
            how += f", scales {', '.join(map(str, scales))}"
        if (rotations := tuple(config.eval.rotations)) != (0.0,):
            how += f", rotations {', '.join(map(str, rotations))}"
        boxes = self.summary().replace("gt_boxes", "ground-truth boxes").replace("_", " ")
        return {
            "Network": f"{models.title(config.model)}, {height}x{width}{ensemble}",
            "Prediction": f"{how}, {flip_test} flip test",
            "Data": f"{len(self.split.photos):,} photos, {boxes}",
            "Directory": str(directory),
        }
