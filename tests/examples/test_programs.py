"""Every example runs as a program, on its tiny network and made-up people."""

import importlib
import pathlib
import re

import jax
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
EXPECTED = {
    "predict": (17, rf"\w+ +x +{NUMBER}  y +{NUMBER}  score +{NUMBER}  (?:.* from its label)? *"),
    "per_person_gradients": (4, rf"person \d: length of the gradient {NUMBER}"),
    "curvature": (4, rf"(?:largest curvature, after 10 products: |radius .*: cosine .* ){NUMBER}"),
    "ensemble": (17, rf"\w+ +{NUMBER} crop pixels between 4 members"),
    "soft_argmax": (4, rf"step +\d+: {NUMBER} crop pixels along x and y"),
    "saliency": (1, r"16 pictures in .*\.jpg"),
    "attacks": (4, rf"\d grey levels: FGSM {NUMBER}, PGD {NUMBER} crop pixels"),
    "augmented_prediction": (5, rf"[\w ,]+ {NUMBER} crop pixels from the labels"),
    "uncertainty": (17, rf"\w+ +{NUMBER} crop pixels from the image, +{NUMBER} from the weights"),
    "data_parallel": (2, rf"(?:jit|shard_map) +on 4 devices: losses {NUMBER}, {NUMBER}, {NUMBER}"),
    "nnx_bridge": (2, rf"(?:largest difference|length of the gradient) .*: {NUMBER}"),
}
"""Example -> number of lines that it prints, and their pattern."""

OTHERS = {"__init__", "start", "functions", "cost", "ray_photos", "beam_photos", "compare_results"}
"""Shared parts, and examples with tests of their own."""


def test_all_examples_are_here():
    found = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert found == {*EXPECTED, *OTHERS}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs(name, capsys, tmp_path):
    main = importlib.import_module(f"examples.{name}").main
    arguments = ["--image-size", "64", "64"] + ["--out", str(tmp_path / "picture.jpg")] * (name == "saliency")
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as a user runs it
        main(arguments)
    lines = capsys.readouterr().out.splitlines()
    count, pattern = EXPECTED[name]
    assert len(lines) == count
    for line in lines:
        assert re.fullmatch(pattern, line), line
