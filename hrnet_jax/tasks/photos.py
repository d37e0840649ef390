"""Whole photos of prepared splits: to train on, and to be evaluated on."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tqdm
from flax import linen as nn

from hrnet_jax import models
from hrnet_jax.bottom_up import augment, eval_batches, inference, pipeline, results
from hrnet_jax.datasets import annotated_photos, records
from hrnet_jax.evaluation import coco, page, protocols, report
from hrnet_jax.tasks import people

SOURCE = page.WHOLE_PHOTOS
"""Name of these predictions among those for boxes, in the names of metrics."""


@dataclasses.dataclass(frozen=True)
class Photos(people.Data):
    """Annotated photos of a split to train on; see `hrnet_jax.tasks.Examples`."""

    photos: annotated_photos.AnnotatedPhotos
    sizes: pipeline.Sizes
    policy: augment.Policy

    def __len__(self) -> int:
        return len(self.photos)

    def digest(self) -> str:
        """Returns a digest of the split and its masks."""
        return annotated_photos.digest(self.split)

    def batches(self, start_step: int) -> Iterator[pipeline.Batch]:
        """Returns an endless iterator over this process's share of the batches."""
        config = self.config
        return pipeline.train_batches(
            self.photos,
            sizes=self.sizes,
            policy=self.policy,
            batch_size=config.batch_size,
            seed=config.seed,
            start_step=start_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=config.loader.threads,
            workers=config.loader.workers,
        )

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Returns ids of photos."""
        return {"photo_ids": self.photos.photo_id[rows].tolist()}

    def loading_hint(self) -> str:
        """Returns how to load photos faster."""
        return people.loading_hint(self.split)

    def note(self) -> str:
        """Returns what is to be said of photos with more people than are trained on, "" for none."""
        counts, most = self.photos.counts, self.sizes.people
        if not (more := int((counts > most).sum())):
            return ""
        return (
            f"{more:,} photos of {self.name} have more than {most} people, up to {counts.max()}: the first {most}"
            " of each are trained on (`most_people`)"
        )


@dataclasses.dataclass(frozen=True)
class PhotoEvaluation(people.Data):
    """Whole photos of a split to evaluate on, without boxes; see `hrnet_jax.tasks.Evaluation`."""

    model: nn.Module
    settings: inference.Settings

    def __len__(self) -> int:
        return len(self.split.photos)

    @property
    def score(self) -> str:
        """AP."""
        return self._protocol.main_metric

    @property
    def logged_score(self) -> str:
        """Full name of the score."""
        return f"{self.split.name}/{SOURCE}/{self.score}"

    @property
    def is_scored(self) -> bool:
        """False for test splits."""
        return protocols.is_scored(self.split)

    def summary(self) -> str:
        """Returns the number of photos."""
        return f"{len(self):,} photos"

    def metrics(self, variables: Mapping[str, Any], place: Callable) -> dict[str, float]:
        """Returns the metrics of all people found in all photos."""
        return dict(self._evaluate(variables, place, progress=False).metrics)

    def predict(self, variables: Any, place: Callable, progress: bool) -> list[protocols.Outcome]:
        """Finds the people in all photos. Raises ValueError for several checkpoints."""
        if isinstance(variables, tuple):
            raise ValueError(
                f"`--checkpoint` names {len(variables)} checkpoints, but tags of different networks do not agree:"
                " give one"
            )
        return [self._evaluate(variables, place, progress)]

    def write(
        self,
        predictions: list[protocols.Outcome],
        variables: Any,
        directory: pathlib.Path,
        against: report.OtherRun | None,
    ) -> None:
        """Writes metrics, result files and the page; prints tables and files."""
        del variables
        report.write(predictions, self.split, self._protocol, directory, self._facts(directory), None, against)

    def _facts(self, directory: pathlib.Path) -> dict[str, str]:
        """Returns what the page says of the network and the data."""
        settings = self.settings
        flip_test = "with" if settings.flip_test else "without"
        scales = ", ".join(map(str, settings.scales))
        refined = "missing joints filled" if settings.refine else "missing joints left out"
        return {
            "Network": f"{models.title(self.config.model)}, short side {settings.input_size}",
            "Prediction": f"bottom-up, scales {scales}, {flip_test} flip test, {refined}",
            "Data": self.summary(),
            "Directory": str(directory),
        }

    @functools.cached_property
    def _protocol(self) -> protocols.Protocol:
        protocol = protocols.find(self.config, self.split)
        if protocol.results is not protocols.COCO.results or protocols.is_pck(self.split):
            raise ValueError(
                f"split {self.split.name!r} is of {records.published(self.split.summary)}, whose metrics are of"
                " given people: take a data set that is evaluated by average precision"
            )
        return protocol

    @functools.cached_property
    def _forward(self) -> inference.Forward:
        return inference.compile_forward(self.model, self.settings)

    def _evaluate(self, variables: Mapping[str, Any], place: Callable, progress: bool) -> protocols.Outcome:
        protocol = self._protocol  # refuses data that need other metrics before people are looked for
        found = self._find_people(variables, place, progress)
        predictions = table(self.split, found)
        person = coco.person_category(self.split.annotations)
        photo_ids = annotated_photos.list_all(self.split).photo_id.tolist()
        listed = protocols.with_texts(results.coco_results(photo_ids, found, person), self.split.annotations)
        metrics = protocol.metrics(self.split, predictions, listed) if self.is_scored else {}
        named = {f"{self.split.name}/{SOURCE}/{name}": value for name, value in metrics.items()}
        return protocols.Outcome(**vars(predictions), split=self.split.name, results=listed, metrics=named)

    def _find_people(
        self, variables: Mapping[str, Any], place: Callable, progress: bool
    ) -> list[inference.People]:
        """Returns the people of each photo of the split."""
        config = self.config
        listed = annotated_photos.list_all(self.split)
        groups = eval_batches.group_photos(listed, self.settings, config.eval.batch_size)
        batches = eval_batches.load(
            self.split,
            listed,
            groups,
            self.settings,
            batch_size=config.eval.batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=config.loader.threads,
        )
        bar = tqdm.tqdm(batches, desc=SOURCE, total=len(groups), unit="batch", disable=not progress)
        placed = (batch._replace(images=[place({"image": x})["image"] for x in batch.images]) for batch in bar)
        predicted = inference.predict(self._forward, variables, placed, self.settings)
        found: dict[int, inference.People] = {}
        for rows, of_photos in zip(groups, predicted, strict=True):
            found |= zip(rows, of_photos, strict=True)
        return [found[row] for row in range(len(self))]


def table(split: records.Split, found: Sequence[inference.People]) -> protocols.Predictions:
    """Returns the people found in each photo of a split as one table."""
    photo_ids = annotated_photos.list_all(split).photo_id
    rows = np.repeat(np.arange(len(found)), [len(people.scores) for people in found])
    joints, joint_scores, scores = (
        np.concatenate([getattr(people, name) for people in found])
        for name in ("joints", "joint_scores", "scores")
    )
    of_table = records.People(
        photo_index=rows,
        photo_id=photo_ids[rows],
        annotation_id=np.zeros(len(rows), np.int64),
        box=np.concatenate([inference.boxes(people) for people in found]).astype(np.float64),
        joints=np.zeros(joints.shape),
        visible=np.ones(joints.shape[:2]),
        score=scores.astype(np.float64),
    )
    return protocols.Predictions(SOURCE, of_table, joints, joint_scores)
