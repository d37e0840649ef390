import itertools

import numpy as np
import pytest

from hrnet_jax.benchmark import grouping, race
from hrnet_jax.bottom_up import compiled_grouping
from hrnet_jax.bottom_up.grouping import group, joint_order

MADE_UP = """
import numpy as np


class HeatmapParser:
    def __init__(self, cfg):
        assert (cfg.DATASET.NUM_JOINTS, cfg.DATASET.MAX_NUM_PEOPLE, cfg.TEST.DETECTION_THRESHOLD) == (K, 30, 0.1)

    def match(self, tags, places, values):
        return [GROUP(values[0], places[0], tags[0], ORDER) for _ in tags]

    def parse(self, heatmaps, tags):
        assert heatmaps.shape == (1, K, 512, 704) and tags.shape == (1, K, 512, 704, 2)
        return tags
"""


@pytest.fixture
def authors(tmp_path):
    """A checkout of other code with the names of the authors'."""
    path = tmp_path / "lib" / "core" / "group.py"
    path.parent.mkdir(parents=True)
    joints = grouping.SETTINGS.skeleton.num_joints
    imports = "from hrnet_jax.bottom_up.grouping import group as GROUP"
    order = joint_order(grouping.SETTINGS.skeleton)
    path.write_text(f"{imports}\nK, ORDER = {joints}, {order}\n{MADE_UP}")
    return path
