import re

import pytest

from hrnet_jax.benchmark import race, report


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "chart.svg"


def comments(path) -> str:
    """Returns the texts of a chart: matplotlib writes each as a comment next to its outline."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", path.read_text(), re.DOTALL))


def test_bars_show_names_medians_and_ratios(path):
    rates = {"ours, fast": [39.0, 40.0, 41.0], "eager": [19.0, 20.0, 21.0]}
    report.bars(race.Race("a race", "people", rates, reference="eager"), path)
    text = comments(path)
    for part in ("a race", "ours, fast", "eager", "40  (2.00x)", "20  (1.00x)", "people per second (1x: eager)"):
        assert part in text
    assert path.read_text().count(report.OURS) == 1


def test_stages_are_stacked(path):
    report.stages("start", "seconds", {"cold": {"trace": 3.0, "compile": 5.0}, "cached": {"trace": 2.0}}, path)
    assert {"start", "seconds", "cold", "cached", "trace", "compile", "8"} <= set(comments(path).splitlines())


def test_curves_start_at_zero(path):
    report.curves("memory", "batches", "GB", {"host": [(10, 0.5), (20, 0.6)]}, path)
    assert {"memory", "batches", "GB", "host", "0.0"} <= set(comments(path).splitlines())


def test_logarithmic_curves_have_a_tick_per_point(path):
    series = {"slow": [(8, 50.0), (1024, 10.0)], "fast": [(8, 90.0), (1024, 80.0)]}
    report.curves("scaling", "chips", "percent", series, path, log=True)
    assert {"scaling", "chips", "percent", "slow", "fast", "8", "1,024", "0"} <= set(comments(path).splitlines())


def test_the_same_values_give_the_same_file(path):
    for target in (path, path.with_name("again.svg")):
        report.curves("memory", "batches", "GB", {"host": [(10, 0.5), (20, 0.6)]}, target)
    assert path.read_bytes() == path.with_name("again.svg").read_bytes()
