"""The files that one image meets, as the README lists them."""

import os
import pathlib
import re
import sys
import threading
from collections.abc import Callable

import jax
import numpy as np
import pytest

from hrnet_jax import configuration, geometry, inference, optimizer, pipeline, sharding, tasks, training
from hrnet_jax.run import setup

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def listed(start: str, end: str) -> set[str]:
    """Returns the files that a part of the README names."""
    part = TEXT[TEXT.index(start) : TEXT.index(end)]
    return {name if name == "train.py" else f"hrnet_jax/{name}" for name in re.findall(r"`([\w/]+\.py)`", part)}


def files_called(function: Callable[[], object]) -> set[str]:
    """Returns the files of the project in which a call runs functions, in all threads."""
    files = set()

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(os.fspath(ROOT / "hrnet_jax")):
            files.add(os.path.relpath(frame.f_code.co_filename, ROOT))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return files


@pytest.fixture
def task(made_up_records) -> tasks.Task:
    config = configuration.default()
    config.data.dir, config.batch_size, config.image_size = str(made_up_records), 4, (64, 32)
    config.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1)
    config.loader.threads = 0
    return tasks.build(config)


def test_the_way_through_training(task):
    mesh, batches = sharding.make_mesh(), task.examples().batches(0)
    _, adam = optimizer.build(task.config, steps_per_epoch=10)  # type: ignore[attr-defined]
    step = setup.make_train_step(task.config, task, adam, mesh)  # type: ignore[attr-defined]
    state, inputs = training.init_state(task.init(), adam), tuple(task.inputs())
    for _ in range(8):  # until what a skeleton computes once is computed
        next(batches)

    def train() -> None:
        batch = next(batches)
        jax.eval_shape(step, state, sharding.place_batch({name: batch[name] for name in inputs}, mesh))

    assert files_called(train) | {"train.py"} == listed("One image on its way", "From a record to joints")


def test_the_way_from_a_record_to_joints(task):
    split = task.evaluation(trained=True).split  # type: ignore[attr-defined]
    batches = pipeline.eval_batches(split, split.people, image_size=(64, 32), batch_size=4, threads=0)
    variables = task.init()

    def predict() -> None:
        batch = next(batches)
        jax.eval_shape(
            lambda image, crop: inference.predict_step(
                task.model, variables, image, crop, flip_order=np.arange(17), shift=1.0, decoder="dark"
            ),
            batch["image"],
            batch["crop"],
        )
        geometry.apply(geometry.invert(batch["crop"][0]), np.zeros((17, 2)))

    assert files_called(predict) == listed("From a record to joints", "`models/hrnet.py` is the place")
