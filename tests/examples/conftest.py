import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import made_predictor
import made_weights
import numpy as np
import pytest

import hrnet_jax
from examples import start


@pytest.fixture(scope="session")
def small() -> start.Start:
    """A tiny random network and four made-up people."""
    model = start.Tiny()
    people = start.made_up_people(4, (64, 64))
    return start.Start(model, start.random_variables(model), people, start.skeletons.COCO)


@pytest.fixture
def double(small):
    """The same in float64."""

    def widened(x):
        return jnp.asarray(x, jnp.float64 if np.issubdtype(x.dtype, np.floating) else x.dtype)

    with jax.enable_x64(True):
        variables, batch = jax.tree.map(widened, (small.variables, dict(small.batch)))
        model = small.model.clone(dtype=jnp.dtype("float64"))
        yield dataclasses.replace(small, model=model, variables=variables, batch=batch)


@pytest.fixture(scope="session")
def pose_checkpoint(tmp_path_factory) -> pathlib.Path:
    """A tiny HRNet. The name of its file tells the size of its images."""
    path = tmp_path_factory.mktemp("weights") / "pose_hrnet_64x32.safetensors"
    return made_weights.file(path, made_weights.tensors())


@pytest.fixture
def photo_folder(tmp_path) -> pathlib.Path:
    """Six photos and a truncated one, in two folders."""
    folder = tmp_path / "photos"
    for number in range(6):
        made_predictor.write_photo(folder / "ab"[number % 2] / f"{number}.png", made_predictor.noise(number))
    content = (folder / "b" / "5.png").read_bytes()
    (folder / "a" / "truncated.png").write_bytes(content[: len(content) // 2])
    return folder


@pytest.fixture
def expected_lines(photo_folder, pose_checkpoint) -> list[dict[str, Any]]:
    """What `Predictor.stream` finds in the photos, and the error of the truncated one, by path."""
    paths, errors = sorted(map(str, photo_folder.rglob("*.png"))), []
    predictor = hrnet_jax.load(pose_checkpoint)
    poses = predictor.stream(paths, lambda path, error: errors.append({"source": path, "error": str(error)}))
    lines = sorted([*(found.to_json() for found in poses), *errors], key=lambda line: line["source"])
    assert [line["source"] for line in lines] == paths and len(errors) == 1
    return lines


@pytest.fixture
def assert_expected(expected_lines) -> Callable[[Iterable[str]], None]:
    """Asserts that lines of JSON, in any order, are the expected ones. Rounding depends on the batch."""

    def parts(lines: Iterable[dict[str, Any]]) -> tuple[list[float], list[str], Any]:
        leaves, structure = jax.tree.flatten(sorted(lines, key=lambda line: line["source"]))
        numbers = [leaf for leaf in leaves if not isinstance(leaf, str)]
        return numbers, [leaf for leaf in leaves if isinstance(leaf, str)], structure

    def check(lines: Iterable[str]) -> None:
        numbers, *rest = parts(map(json.loads, lines))
        expected_numbers, *expected_rest = parts(expected_lines)
        assert rest == expected_rest
        np.testing.assert_allclose(numbers, expected_numbers, rtol=1e-5, atol=1e-6)

    return check
