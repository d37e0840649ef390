"""docs/functional.md runs: definitions are those of the examples, the rest is typed in and gives its outputs."""

import doctest
import pathlib
import re

import jax
import made_weights
import pytest

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "functional.md").read_text()
DEFINITIONS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SESSION = "".join(re.findall(r"^```pycon\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
EXAMPLES = {path.stem: path.read_text() for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda text: re.search(r"def (\w+)", text)[1])
def test_a_definition_is_the_code_of_an_example(definition):
    for function in re.split(r"\n\n\n", definition.strip()):
        assert any(function in source for source in EXAMPLES.values())


def test_the_session_gives_its_outputs(tmp_path, monkeypatch):
    made_weights.file(tmp_path / "w32.safetensors", made_weights.tensors())
    monkeypatch.chdir(tmp_path)
    session = doctest.DocTestParser().get_doctest(SESSION, {}, "functional.md", None, 0)
    report = []
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as a reader's
        result = doctest.DocTestRunner().run(session, out=report.append)
    assert result.attempted > 60
    assert not result.failed, "".join(report)


def test_every_example_is_on_the_page():
    named = set(re.findall(r"(?:from examples import |from examples\.|examples/|examples\.)(\w+)", TEXT))
    named |= {name for names in re.findall(r"from examples import (.*)", TEXT) for name in names.split(", ")}
    elsewhere = {"ray_photos", "beam_photos", "compare_results"}  # on pages of their own
    assert set(EXAMPLES) - {"__init__"} - elsewhere <= named
