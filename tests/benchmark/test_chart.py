import re

import pytest

from hrnet_jax.benchmark import chart, race


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "picture.svg"


def comments(path) -> str:
    """The texts of a picture: matplotlib writes each as a comment beside its outline."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", path.read_text(), re.DOTALL))


def test_a_race_shows_names_medians_and_ratios(path):
    rates = {"ours, fast": [39.0, 40.0, 41.0], "theirs": [19.0, 20.0, 21.0]}
    chart.bars(race.Race("a race", "people", rates, reference="theirs"), path)
    text = comments(path)
    for part in ("a race", "ours, fast", "theirs", "40  (2.00x)", "20  (1.00x)", "people per second (1x: theirs)"):
        assert part in text
    assert path.read_text().count(chart.OURS) == 1


def test_stages_are_put_one_after_the_other(path):
    chart.stages("start", "seconds", {"cold": {"trace": 3.0, "compile": 5.0}, "cached": {"trace": 2.0}}, path)
    assert {"start", "seconds", "cold", "cached", "trace", "compile", "8"} <= set(comments(path).splitlines())


def test_a_line_begins_at_zero(path):
    chart.line("memory", "batches", "GB", [(10, 0.5), (20, 0.6)], path)
    assert {"memory", "batches", "GB", "0.0"} <= set(comments(path).splitlines())


def test_curves_have_names_and_marks(path):
    series = {"slow": [(8, 50.0), (1024, 10.0)], "fast": [(8, 90.0), (1024, 80.0)]}
    chart.curves("spread", "chips", "percent", series, path)
    assert {"spread", "chips", "percent", "slow", "fast", "8", "1,024", "0"} <= set(comments(path).splitlines())


def test_the_same_figures_are_the_same_file(path):
    for target in (path, path.with_name("again.svg")):
        chart.line("memory", "batches", "GB", [(10, 0.5), (20, 0.6)], target)
    assert path.read_bytes() == path.with_name("again.svg").read_bytes()
