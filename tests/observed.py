"""A configuration of a tiny run, observed on the paths that ``train.py`` and ``eval.py`` take.

Its network has two layers, since compiling takes most of the time and each setting makes another program.
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

from hrnet_jax import checkpoint, configuration, distributed, geometry, models, sharding, state_hash, training
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate, protocols
from hrnet_jax.models import batch_norm, layers, network
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
}
TINY_HRNET = {
    "model.width": 4,
    "model.stem": 4,
    "model.units": (1, 1, 1),
    "model.blocks": 1,
    "model.norm_group_size": 0,
}
TINY_NETWORKS = {
    "observed:NETWORK": {"model.norm_group_size": 0},
    "simple_baseline": {"model.stem": 4, "model.features": 8},
    "cpn": {"model.stem": 4, "model.features": 8, "model.norm_group_size": 0},
    **{name: TINY_HRNET for name in ("hrnet", "hrnet_ablation", "hrnet_resolutions", "higher_hrnet")},
    "hourglass": {
        "model.stacks": 1,
        "model.features": 4,
        "model.depth": 1,
        "model.stem_features": (4, 4, 4),
        "model.norm_group_size": 0,
    },
}


class TwoLayers(nn.Module):
    """A convolution of stride 4 with batch normalization, and the heatmaps."""

    num_joints: int
    colors: str = "RGB"
    norm: batch_norm.Norm = batch_norm.Norm()
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        x = layers.Conv(8, stride=layers.STRIDE, dtype=self.dtype, name="conv1")(image)
        x = layers.relu(batch_norm.BatchNorm(self.norm, name="bn1")(x, train))
        return layers.Conv(self.num_joints, 1, use_bias=True, dtype=self.dtype, name="final_layer")(x)


NETWORK = models.Network(TwoLayers, network.FIELDS, title="two layers", tag="two_layers")


def make_config(changes: Mapping[str, Any], data: pathlib.Path) -> ConfigDict:
    """Returns the configuration of a tiny run with some fields changed, by full name."""
    name = changes.get("model.name", "observed:NETWORK")
    config = configuration.default(name)
    config.update_from_flattened_dict(TINY | TINY_NETWORKS[name] | {"data.dir": str(data)} | changes)
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
        """Digest of the crop and the labels of each person, or photo, of the first epoch."""
        arrays = [self.epoch(name) for name in sorted(self.batches[0].keys() - {"index"})]
        rows = zip(self.order, *arrays, strict=True)
        return {person: hashlib.sha256(b"".join(x.tobytes() for x in row)).hexdigest() for person, *row in rows}

    @functools.cached_property
    def rates(self) -> np.ndarray:
        """The learning rate of each step of the run: how far the optimizer moves a weight of gradient 1."""
        return self.moves(gradient=1.0)

    def moves(self, gradient: float, weight: float = 0.0) -> np.ndarray:
        """How far the optimizer moves a weight of this gradient and value, against the gradient, in each step."""
        params, gradients = {"weight": jnp.float32(weight)}, {"weight": jnp.float32(gradient)}
        moves, state = [], self.run.optimizer.init(params)
        with jax.numpy_dtype_promotion("standard"):
            for _ in range(self.run.steps):
                updates, state = self.run.optimizer.update(gradients, state, params)
                moves.append(-float(updates["weight"]))  # pyright: ignore
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
        """Weights that let no layer fade: the initial ones, scaled as by He et al. (2015)."""

        def scale(weight: np.ndarray) -> np.ndarray:
            if weight.ndim != 4:
                return weight
            return weight * np.float32(np.sqrt(2 / np.prod(weight.shape[:3])) / training.INITIAL_DEVIATION)

        return jax.tree.map(scale, self.run.task.init())

    @functools.cached_property
    def trained(self) -> str:
        """Fingerprint of the state after two steps."""
        step, state = jax.jit(self.step()), self.state
        for batch in self.batches[:2]:
            state, _ = step(state, {name: batch[name] for name in self.run.task.inputs()})
        return state_hash.compute(state)

    @functools.cached_property
    def program(self) -> str:
        """The computation of the loss as JAX traces it."""
        task, shapes = self.run.task, self.run.task.shapes()
        return str(jax.make_jaxpr(task.loss)(shapes["params"], shapes["batch_stats"], task.inputs()))

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
    def files(self) -> dict[str, list[Any]]:
        """The steps of a run with a line in the log, an evaluation, a picture, and a checkpoint that is kept.

        ``scores`` are those of the evaluations. The loop, the log and the checkpoints are train.py's. A step adds
        1 to the only weight, which is the score, and leaves its average at 0.
        """
        train = _import_program("train")
        evaluation = types.SimpleNamespace(
            is_scored=True,
            score="AP",
            logged_score="AP",
            metrics=lambda variables, place: {"AP": float(variables["params"][0])},
        )
        task = types.SimpleNamespace(
            inputs=lambda: ("joints",), picture=lambda variables, batch: np.zeros((8, 8, 3), np.uint8)
        )
        run = dataclasses.replace(self.run, evaluation=evaluation, task=task)  # pyright: ignore
        variables = {"params": np.zeros(1, np.float32), "batch_stats": {}}
        state = training.init_state(variables, run.optimizer, averaged=True)
        with contextlib.ExitStack() as stack:
            workdir = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            saved = checkpoint.Checkpoints(workdir, {})
            log = stack.enter_context(contextlib.closing(logger.Logger(workdir, 0)))
            trainer = train.Trainer(run, _count, progress.Window(0), saved, log, interruption.StopSignal())
            trainer.train(sharding.place_state(state, run.mesh))
            saved.close()
            lines = logger.read(workdir)
            return {
                "lines": [line["step"] for line in lines if "loss" in line],
                "evaluations": [line["step"] for line in lines if "AP" in line],
                "scores": [line["AP"] for line in lines if "AP" in line],
                "pictures": sorted(int(path.stem) for path in (workdir / "pictures").iterdir()),
                "checkpoints": sorted(int(path.name) for path in (workdir / "checkpoints" / "last").iterdir()),
            }

    def restored(self, source: pathlib.Path) -> Any:
        """The variables that eval.py restores from a run directory to evaluate them."""
        program = _import_program("eval")
        with mock.patch.object(program, "CONFIG", types.SimpleNamespace(value=self.config)):
            return program.restore(self.run.task, source)


@functools.partial(jax.jit, static_argnums=0)
def _apply(model: nn.Module, variables: Mapping[str, Any], image: jax.Array) -> Any:
    """The heatmaps of images whose colors are in the network's order."""
    return model.apply(variables, layers.normalize(image))


def _count(state: training.TrainState, batch: Any) -> tuple[training.TrainState, dict[str, jax.Array]]:
    """A training step that only counts."""
    del batch
    metrics = {"loss": jnp.zeros(()), progress.FINITE: jnp.ones(())}
    return dataclasses.replace(state, step=state.step + 1, params=state.params + 1), metrics


def _import_program(name: str) -> types.ModuleType:
    """Imports train.py or eval.py, and takes its flags back: both define the same, and this program is another."""
    before = set(flags.FLAGS)
    with mock.patch.object(distributed, "define_flags"):  # its flags may already be defined
        module = importlib.import_module(name)
    for flag in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, flag)
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


def full_targets(joints: jax.Array, visible: jax.Array, *, heatmap_size: tuple[int, int], **_: Any) -> Any:
    """Targets that are 1 everywhere, as ``config.heatmap.target`` names them."""
    return jnp.ones((len(joints), *heatmap_size, joints.shape[1]), joints.dtype), visible


COUNT = dataclasses.replace(
    protocols.COCO,
    main_metric="people",
    metrics=lambda split, predictions, results: {"people": float(len(results))},
)
"""The number of people as a metric, as ``config.eval.protocol`` names it."""
