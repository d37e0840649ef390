import dataclasses

import pytest

from hrnet_jax.tracking import settings
from hrnet_jax.tracking.settings import PRESETS, Settings, parse


def test_settings_are_parsed_from_a_preset_and_changes():
    assert parse("paper") == Settings()
    changed = parse("ours,memory_frames=90,memory_seconds=3,similarity=iou")
    assert changed == dataclasses.replace(PRESETS["ours"], memory_frames=90, memory_seconds=3.0, similarity="iou")


def test_the_rows_are_those_of_the_paper():
    for name, row in settings.ROWS.items():
        propagation, similarity = name.split("/")
        assert (row.propagation == "none") == (propagation == "off"), name
        assert row.similarity == ("iou" if similarity == "bbox" else "oks"), name
        assert (row.motion == "flow") == ("flow" in similarity), name
        assert (row.memory_frames > 1) == (similarity == "multi-flow"), name
    assert PRESETS["paper"] == settings.ROWS["on/multi-flow"]
    assert (PRESETS["paper"].box_score, PRESETS["paper"].joint_score, PRESETS["paper"].growth) == (0.5, 0.4, 0.15)


def test_settings_that_read_the_flow_say_so():
    needs = {name for name, row in PRESETS.items() if row.needs_flow}
    assert needs == {"paper", "on/bbox", "on/pose", "on/flow", "on/multi-flow"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", r"'best'.*off/bbox.*ours"),
        ("ours,memory=3", r"'memory'.*memory_frames"),
        ("ours,memory_frames=3.5", r"memory_frames` \(=3.5\) must be of type int"),
        ("ours,motion=fast", r"motion` \(='fast'\) must be one of none, velocity, flow"),
        ("ours,box_score=2", r"box_score` \(=2.0\) must be from 0 to 1"),
        ("ours,box_score=nan", "must be from 0 to 1"),
        ("ours,memory_seconds=0", "above 0"),
        ("ours,velocity_gain=0", "above 0"),
        ("paper,memory_frames=0", "at least 1"),
        ("paper,propagation_frames=6", r"from 0 to `memory_frames` \(=5\)"),
        ("paper,propagation=velocity", "needs `motion` 'velocity'"),
    ],
)
def test_wrong_settings_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)
