import functools

import pytest

from hrnet_jax.benchmark import grouping, race
from hrnet_jax.bottom_up import inference
from hrnet_jax.bottom_up.grouping import joint_order

CODE = f"""
from hrnet_jax.bottom_up.grouping import group


class HeatmapParser:
    def __init__(self, cfg):
        assert cfg.TEST.DETECTION_THRESHOLD == 0.1 and cfg.TEST.NMS_PADDING == 2
        self.most = MOST

    def match(self, tags, places, values):
        return [group(values[0], places[0], tags[0], {joint_order(grouping.SETTINGS.skeleton)})[: self.most]]

    def parse(self, heatmaps, tags):
        assert heatmaps.shape == tags.shape[:4] and tags.shape[2:] == (256, 320, 2)
"""


def checkout(directory, code: str) -> str:
    """Writes code where the authors' is."""
    path = directory / "lib" / "core" / "group.py"
    path.parent.mkdir(parents=True)
    path.write_text(code)
    return str(directory)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    draw = functools.partial(grouping.draw, size=(256, 320))
    monkeypatch.setattr(grouping, "draw", draw)


@pytest.mark.parametrize("people", [1, 7])
def test_people_are_found_in_made_up_maps(people):
    reading = inference.read_maps(grouping.draw(people)[None], grouping.SETTINGS)
    (found,) = inference.find_on_host(reading, [""], grouping.SETTINGS)
    assert (found.scores > 0.25).sum() == people  # others have a stray joint


def test_all_ways_are_timed_and_printed(tmp_path):
    pytest.importorskip("torch")
    races = grouping.measure(checkout(tmp_path, CODE.replace("MOST", "99")), rounds=2, counts=(2, 3))
    assert [[*of_work] for of_work in races.values()] == [[2, 3], [2, 3]]
    groups, whole = (of_work[3] for of_work in races.values())
    assert [*groups.rates] == [race.OURS, grouping.NUMPY, grouping.AUTHORS]
    assert [*whole.rates] == [race.OURS, grouping.AUTHORS] and whole.reference == grouping.AUTHORS
    printed = grouping.table(races)
    assert printed.count("3 people") == 2 and "candidates to people, milliseconds" in printed
    points = grouping.curves(races)["maps to people, ours"]
    assert points[1] == (3, pytest.approx(1e3 / sorted(whole.rates[race.OURS])[0], rel=1)) and len(points) == 2


def test_other_people_are_an_error(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match="contenders found"):
        grouping.measure(checkout(tmp_path, CODE.replace("MOST", "1")), rounds=1, counts=(3,))


def test_ours_are_timed_alone():
    races = grouping.measure("", rounds=1, counts=(1,))
    assert races[grouping.WORK[0]][1].reference == race.OURS


def test_a_wrong_checkout_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"has no lib/core/group\.py"):
        grouping.load_authors(str(tmp_path))
    with pytest.raises(ValueError, match=r"No module named 'munkers'.*pip install"):
        grouping.load_authors(checkout(tmp_path, "import munkers"))
