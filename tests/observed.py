"""A configuration of a tiny run, observed on the paths that ``train.py`` and ``eval.py`` take.

Each setting makes another program, and compiling takes most of the time: losses are compiled where they show as
much as gradients do.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import itertools
import pathlib
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import checkpoint, configuration, geometry, sharding, state_hash, training
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate
from hrnet_jax.models import layers
from hrnet_jax.run import interruption, logger, progress, setup

TINY = {
    "image_size": (64, 64),
    "batch_size": 8,
    "epochs": 4,
    "learning_rate_drops": (3,),
    "eval.batch_size": 8,
    "loader.threads": 1,
    "log_every": 3,
    "eval_every": 2,
    "checkpoint_every": 5,
    "picture_every": 4,
    "model.norm_group_size": 0,
}
TINY_NETWORK = {"model.width": 4, "model.stem": 4, "model.units": (1, 1, 1), "model.blocks": 1}

LAST_LAYER = 0.002
"""Factor of the last layer in `Observed.lively`: residual sums make its input large."""


def make_config(changes: Mapping[str, Any], data: pathlib.Path) -> ConfigDict:
    """Returns the configuration of a tiny run with some fields changed, by full name."""
    network = changes.get("model.name", "hrnet")
    config = configuration.default(network)
    tiny = TINY | (TINY_NETWORK if network == "hrnet" else {}) | {"data.dir": str(data)}
    config.update_from_flattened_dict(tiny | changes)
    return config


@dataclasses.dataclass(frozen=True)
class Draws:
    """The augmentation of N people, measured on their crops."""

    person: np.ndarray  # [N] row in the table of people
    factor: np.ndarray  # [N] size of the crop relative to the person's padded box
    rotation: np.ndarray  # [N] degrees
    mirrored: np.ndarray  # [N] bool
    half_body: np.ndarray  # [N] bool: the crop is not centered on the box


class Observed:
    """What a configuration leads to. Everything is computed when it is first asked for."""

    def __init__(self, config: ConfigDict):
        self.config = config

    @functools.cached_property
    def on_all_devices(self) -> setup.Run:
        """The run as train.py prepares it."""
        return setup.prepare(self.config)

    @functools.cached_property
    def run(self) -> setup.Run:
        """The run on one device."""
        return dataclasses.replace(self.on_all_devices, mesh=sharding.make_mesh(jax.devices()[:1]))

    # The start of training

    @functools.cached_property
    def state(self) -> training.TrainState:
        """The state before the first step."""
        return setup.first_state(self.run)

    @functools.cached_property
    def shapes(self) -> dict[str, Any]:
        """Shapes of the weights, nested by the names of modules."""
        return jax.tree.map(lambda leaf: leaf.shape, self.run.task.shapes()["params"])

    @functools.cached_property
    def weights(self) -> str:
        """Fingerprint of the initial weights."""
        return state_hash.compute((self.state.params, self.state.batch_stats))

    @functools.cached_property
    def batches(self) -> list[dict[str, np.ndarray]]:
        """The batches of the first epoch; the last one reaches into the second."""
        with contextlib.closing(self.run.examples.batches(0)) as batches:  # pyright: ignore
            return list(itertools.islice(batches, self.run.steps_per_epoch))

    def epoch(self, name: str) -> np.ndarray:
        """An array of the batches: one row for each person of the first epoch."""
        return np.concatenate([batch[name] for batch in self.batches])[: len(self.run.examples)]

    @functools.cached_property
    def order(self) -> list[int]:
        """The people of the first epoch in the order of their visits."""
        return self.epoch("index").tolist()

    @functools.cached_property
    def crops(self) -> dict[int, str]:
        """Digest of the crop and the joints of each person of the first epoch."""
        arrays = [self.epoch(name) for name in ("image", "joints", "visible", "crop")]
        rows = zip(self.order, *arrays, strict=True)
        return {person: hashlib.sha256(b"".join(x.tobytes() for x in row)).hexdigest() for person, *row in rows}

    @functools.cached_property
    def rates(self) -> np.ndarray:
        """The learning rate of each step of the run: how far the optimizer moves a weight of gradient 1."""
        return -self._moves(gradient=1.0, weight=0.0)

    @functools.cached_property
    def decay(self) -> np.ndarray:
        """How far the optimizer moves a weight of value 1 and gradient 0 in each step."""
        return -self._moves(gradient=0.0, weight=1.0)

    def _moves(self, gradient: float, weight: float) -> np.ndarray:
        params, gradients = {"weight": jnp.float32(weight)}, {"weight": jnp.float32(gradient)}
        moves, state = [], self.run.optimizer.init(params)
        with jax.numpy_dtype_promotion("standard"):
            for _ in range(self.run.steps):
                updates, state = self.run.optimizer.update(gradients, state, params)
                moves.append(float(updates["weight"]))  # pyright: ignore
        return np.array(moves)

    @functools.cached_property
    def draws(self) -> Draws:
        """The augmentation of the first epoch."""
        height, width = self.config.image_size
        middle = np.array([width / 2, height / 2])
        found = []
        for person, crop in zip(self.order, self.epoch("crop").astype(float), strict=True):
            box = self.run.examples.split.people.box[person]  # pyright: ignore[reportAttributeAccessIssue]
            plain = geometry.photo_to_crop(
                *geometry.box_to_center_scale(box, width / height), 0.0, (height, width)
            )
            relative = geometry.compose(geometry.invert(plain), crop)
            determinant = np.linalg.det(relative[:, :2])
            rotation = np.degrees(np.arctan2(relative[0, 1], relative[1, 1]))
            off = np.abs(geometry.apply(relative, middle) - middle).max() > 0.1
            found.append((person, abs(determinant) ** -0.5, rotation, determinant < 0, off))
        return Draws(*map(np.array, zip(*found, strict=True)))

    # A training step

    def step(self) -> training.TrainStep:
        """The training step as train.py makes it, before it is compiled."""
        return setup.make_train_step(self.config, self.run.task, self.run.optimizer, self.run.mesh)

    @functools.cached_property
    def lively(self) -> dict[str, Any]:
        """Weights that let no layer fade: the initial ones, scaled as by He et al. (2015). Scores are below 1."""

        def scale(path: Any, weight: np.ndarray) -> np.ndarray:
            if weight.ndim != 4:
                return weight
            deviation = np.sqrt(2 / np.prod(weight.shape[:3])) * (LAST_LAYER if "final_layer" in str(path) else 1)
            return weight * np.float32(deviation / training.INITIAL_DEVIATION)

        return jax.tree_util.tree_map_with_path(scale, self.run.task.init())

    @functools.cached_property
    def program(self) -> tuple[str, list[bytes]]:
        """The training step as JAX traces it, and its constants."""
        state = setup.state_shapes(self.run.task, self.run.optimizer)
        traced = jax.make_jaxpr(self.step())(state, self.run.task.inputs())
        return str(traced), [np.asarray(constant).tobytes() for constant in traced.consts]

    @functools.cached_property
    def _compiled_loss(self) -> Callable:
        return jax.jit(self.run.task.loss)

    def loss(
        self, batch: Mapping[str, np.ndarray], params: Any = None, batch_stats: Any = None
    ) -> tuple[float, dict[str, Any]]:
        """The loss of a batch and the next running statistics, by default with the `lively` weights."""
        params, batch_stats = params or self.lively["params"], batch_stats or self.lively["batch_stats"]
        value, (batch_stats, _) = self._compiled_loss(params, batch_stats, batch)
        return float(value), batch_stats

    # An evaluation

    @functools.cached_property
    def evaluated(self) -> list[dict[str, np.ndarray]]:
        """The batches of the evaluation: those of ground-truth boxes, then those of a detector's."""
        return []

    @functools.cached_property
    def outcomes(self) -> dict[str, evaluate.Outcome]:
        """The outcome of the evaluation by source of boxes, as eval.py predicts them."""

        def place(batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
            self.evaluated.append(batch)
            return sharding.place_batch(batch, self.run.mesh)

        variables = sharding.place_state(self.lively, self.run.mesh)
        found = self.run.task.evaluation(trained=False).predict(variables, place, progress=False)
        return {outcome.source: outcome for outcome in found}

    def first_evaluated(self) -> dict[str, np.ndarray]:
        """The first batch of an evaluation."""
        seen = []

        def place(batch: dict[str, np.ndarray]) -> NoReturn:
            seen.append(batch)
            raise interruption.Stopped

        with contextlib.suppress(interruption.Stopped):
            self.run.evaluation.metrics({}, place)
        return seen[0]

    @property
    def truth(self) -> evaluate.Outcome:
        """The outcome on ground-truth boxes."""
        return self.outcomes[evaluate.GT_BOXES]

    @property
    def detected(self) -> evaluate.Outcome:
        """The outcome on a detector's boxes."""
        return self.outcomes[evaluate.DETECTOR_BOXES]

    def crops_of_truth(self, name: str) -> np.ndarray:
        """An array of the batches of ground-truth boxes: one row for each person."""
        count = len(self.truth.people)
        return np.concatenate([batch[name] for batch in self.evaluated])[:count]

    @functools.cached_property
    def decoded(self) -> np.ndarray:
        """The joints on ground-truth boxes, in crop pixels."""
        rows = zip(self.crops_of_truth("crop").astype(float), self.truth.joints, strict=True)
        return np.stack([geometry.apply(crop, joints) for crop, joints in rows])

    def heatmaps(self, *, mirrored: bool = False, reverse: bool = False) -> np.ndarray:
        """The network's heatmaps of the evaluated crops, of mirrored ones, or with the colors in reverse order."""
        image = self.crops_of_truth("image")[:, :, :: -1 if mirrored else 1, :: -1 if reverse else 1]
        return np.asarray(_apply(self.run.task.model, self.lively, image))

    # The files of a run

    @functools.cached_property
    def files(self) -> dict[str, list[int]]:
        """The steps of a run with a line in the log, an evaluation, a picture, and a checkpoint that is kept.

        The loop, the log and the checkpoints are train.py's. A step, an evaluation and a picture do nothing.
        """
        train = _import_train()
        evaluation = types.SimpleNamespace(
            is_scored=True, score="AP", logged_score="AP", metrics=lambda variables, place: {"AP": 0.5}
        )
        task = types.SimpleNamespace(
            inputs=lambda: ("joints",), picture=lambda variables, batch: np.zeros((8, 8, 3), np.uint8)
        )
        run = dataclasses.replace(self.run, evaluation=evaluation, task=task)  # pyright: ignore
        params = {"params": {"weight": np.zeros(2, np.float32)}, "batch_stats": {}}
        state = sharding.place_state(training.init_state(params, run.optimizer), run.mesh)
        with contextlib.ExitStack() as stack:
            workdir = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            saved = checkpoint.Checkpoints(workdir, {})
            log = stack.enter_context(contextlib.closing(logger.Logger(workdir, 0)))
            train.Trainer(run, _count, progress.Window(0), saved, log, interruption.StopSignal()).train(state)
            saved.close()
            lines = logger.read(workdir)
            return {
                "lines": [line["step"] for line in lines if "loss" in line],
                "evaluations": [line["step"] for line in lines if "AP" in line],
                "pictures": sorted(int(path.stem) for path in (workdir / "pictures").iterdir()),
                "checkpoints": sorted(int(path.name) for path in (workdir / "checkpoints" / "last").iterdir()),
            }


@functools.partial(jax.jit, static_argnums=0)
def _apply(model: nn.Module, variables: Mapping[str, Any], image: jax.Array) -> Any:
    """The heatmaps of images whose colors are in the network's order."""
    return model.apply(variables, layers.normalize(image))


def _count(state: training.TrainState, batch: Any) -> tuple[training.TrainState, dict[str, jax.Array]]:
    """A training step that only counts."""
    del batch
    metrics = {"loss": jnp.zeros(()), progress.FINITE: jnp.ones(())}
    return state.replace(step=state.step + 1), metrics  # pyright: ignore[reportAttributeAccessIssue]


def _import_train() -> types.ModuleType:
    """Imports train.py, and takes its flags back: this program is another."""
    before = set(flags.FLAGS)
    module = importlib.import_module("train")
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
    return module


@contextlib.contextmanager
def threads_that_read(split: records.Split, count: int) -> Iterator[set[int]]:
    """Collects the threads that read a split's photos. At its first one, each waits for as many to come."""
    read_photo, barrier, threads = records.read_photo, threading.Barrier(count), set()

    def read(photos: Any, *arguments: Any) -> np.ndarray:
        if photos is split.photos and (thread := threading.get_ident()) not in threads:
            threads.add(thread)
            barrier.wait(timeout=60)
        return read_photo(photos, *arguments)

    with mock.patch.object(records, "read_photo", read):
        yield threads
