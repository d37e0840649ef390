"""A task outside the package: regress coordinates of joints directly, without heatmaps.

``--config tests/coordinates.py`` trains it on made-up people, with this directory in PYTHONPATH.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import augment, configuration, models, pipeline, sharding
from hrnet_jax.datasets import records
from hrnet_jax.fields import Field

NEAR = 0.2
"""A joint is found within this share of the crop's height."""


FIELDS = {
    **configuration.RUN,
    "model.name": Field("coordinates:NETWORK", "This network.", network=True),
    "model.width": Field(8, "Channels.", minimum=1, network=True),
}


def get_config() -> ConfigDict:
    config = configuration.build(FIELDS)
    config.task = "coordinates:Coordinates"
    config.data.dir = "data/made_up/records"
    config.update({"image_size": (64, 48), "batch_size": 4, "epochs": 2, "log_every": 2, "eval_every": 1})
    config.update({"checkpoint_every": 3, "picture_every": 4, "learning_rate_drops": (), "learning_rate": 1e-2})
    config.loader.threads = 1
    return config


class Network(nn.Module):
    width: int
    joints: int

    @nn.compact
    def __call__(self, image):
        x = image.astype(jnp.float32) / 255 - 0.5
        for _ in range(2):
            x = nn.relu(nn.Conv(self.width, (3, 3), strides=4)(x))
        return nn.Dense(2 * self.joints)(x.reshape(len(x), -1)).reshape(-1, self.joints, 2)


NETWORK = models.Network(Network, FIELDS, title="coordinate regression", tag="coordinates")


class Coordinates:
    metrics = ("loss", "distance")

    def __init__(self, config):
        self.config = config
        self._split = records.open_split(pathlib.Path(config.data.dir) / config.data.train_split)
        self.model = Network(config.model.width, self._split.skeleton.num_joints)

    @classmethod
    def fields(cls, config):
        return FIELDS

    def inputs(self):
        size, joints = self.config.batch_size, self.model.joints
        return {
            "image": jax.ShapeDtypeStruct((size, *self.config.image_size, 3), jnp.uint8),
            "joints": jax.ShapeDtypeStruct((size, joints, 2), jnp.float32),
            "visible": jax.ShapeDtypeStruct((size, joints), jnp.float32),
        }

    def init(self):
        image = jnp.zeros((1, *self.config.image_size, 3), jnp.uint8)
        params = self.model.init(jax.random.key(self.config.seed), image)["params"]
        return {"params": jax.tree.map(np.asarray, params), "batch_stats": {}}

    def shapes(self):
        image = jnp.zeros((1, *self.config.image_size, 3), jnp.uint8)
        return {"params": jax.eval_shape(self.model.init, jax.random.key(0), image)["params"], "batch_stats": {}}

    def loss(self, params, batch_stats, batch):
        found = self.model.apply({"params": params}, batch["image"]) * self.config.image_size[0]
        distance = jnp.linalg.norm(found - batch["joints"], axis=-1)
        mean = (distance * batch["visible"]).sum() / jnp.maximum(batch["visible"].sum(), 1)
        return mean / self.config.image_size[0], (batch_stats, {"distance": mean})

    def memory_options(self, devices):
        return iter(())

    def picture(self, variables, batch):
        joints = np.asarray(self.model.apply({"params": variables["params"]}, batch["image"][:1]))
        picture = batch["image"][0].copy()
        for x, y in (joints[0] * picture.shape[0]).clip(0, np.array(picture.shape[1::-1]) - 1).astype(int):
            picture[y, x] = (255, 0, 0)
        return picture

    def describe(self):
        return {"name": "coordinates:NETWORK", "width": self.config.model.width}

    def title(self):
        return "coordinate regression"

    def examples(self):
        return Examples(self.config, self._split)

    def evaluation(self, *, trained):
        split = records.open_split(pathlib.Path(self.config.data.dir) / self.config.data.val_split)
        return Evaluation(self.config, split, self.model)


class Examples:
    def __init__(self, config, split):
        self.config, self.split, self.name = config, split, split.name

    def __len__(self):
        return len(self.split.people)

    def digest(self):
        return records.digest(self.split)

    def batches(self, start_step):
        config = self.config
        return pipeline.train_batches(
            self.split, image_size=tuple(config.image_size), batch_size=config.batch_size, seed=config.seed,
            policy=augment.Policy(**config.augment), start_step=start_step, threads=config.loader.threads,
        )  # fmt: skip

    def identify(self, rows):
        return {"annotation_ids": self.split.people.annotation_id[rows].tolist()}

    def loading_hint(self):
        return ""


class Evaluation(Examples):
    score, is_scored = "found", True

    def __init__(self, config, split, model):
        super().__init__(config, split)
        self._apply, self.logged_score = jax.jit(model.apply), f"{split.name}/found"

    def summary(self):
        return f"{len(self)} people"

    def predict(self, variables, place, progress=False):
        height, near = self.config.image_size[0], []
        for batch in pipeline.eval_batches(
            self.split, self.split.people, image_size=tuple(self.config.image_size), batch_size=4, threads=0
        ):
            found = sharding.gather_to_host(self._apply({"params": variables["params"]}, place(batch)["image"]))
            distance = np.linalg.norm(np.asarray(found) * height - batch["joints"], axis=-1)
            counts = (batch["visible"] > 0) & (batch["valid"] > 0)[:, None]
            near += (distance[counts] < NEAR * height).tolist()
        return {self.logged_score: float(np.mean(near))}

    def metrics(self, variables, place):
        return self.predict(variables, place)

    def write(self, predictions, variables, directory, against):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "metrics.json").write_text(json.dumps(predictions))
        print(predictions)
