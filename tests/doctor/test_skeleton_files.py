import dataclasses
import json

import made_damage
import pytest
from made_damage import Damage, kinds

from hrnet_jax import skeletons
from hrnet_jax.doctor import skeleton_files


def drop_last_sigmas(content, rng):
    del content["sigmas"][int(rng.integers(len(content["sigmas"]))) :]


def scale_sigmas(content, factor):
    content["sigmas"] = [factor * sigma for sigma in content["sigmas"]]


def drop_pair(content, rng):
    del content["flip_pairs"][int(rng.integers(len(content["flip_pairs"])))]


def cross_pairs(content, rng):
    a, b = rng.choice(len(content["flip_pairs"]), 2, replace=False)
    pairs = content["flip_pairs"]
    pairs[a][1], pairs[b][1] = pairs[b][1], pairs[a][1]


def renamed(plant, change):
    """Plants a damage, then respells all joints."""

    def plant_and_rename(content, rng):
        plant(content, rng)
        for name in ("joints", "upper_body"):
            content[name] = [change(joint) for joint in content[name]]
        for name in ("flip_pairs", "limbs"):
            content[name] = [[change(joint) for joint in pair] for pair in content[name]]

    return plant_and_rename


def initials(name):
    return name.replace("left_", "L_").replace("right_", "R_")


RENAMED = ("keypoint_names",)
DAMAGES = [
    Damage("no sigmas", lambda content, rng: content.pop("sigmas"), "sigmas"),
    Damage("fewer sigmas", drop_last_sigmas, "sigmas"),
    Damage("sigmas in percent", lambda content, rng: scale_sigmas(content, 100), "sigmas"),
    Damage("sigmas doubled", lambda content, rng: scale_sigmas(content, 2), "sigmas"),
    Damage("a pair missing", drop_pair, "flip_pairs"),
    Damage("pairs crossed", cross_pairs, "flip_pairs"),
    Damage("no pairs", lambda content, rng: content["flip_pairs"].clear(), "flip_pairs"),
    Damage("a pair missing in capitals", renamed(drop_pair, str.upper), "flip_pairs", RENAMED),
    Damage("pairs crossed by initials", renamed(cross_pairs, initials), "flip_pairs", RENAMED),
]


@made_damage.cases(DAMAGES)
def test_finds_damaged_skeletons(made_up, tmp_path, damage, seed):
    path = tmp_path / "skeleton.json"
    skeletons.save(skeletons.COCO, path)
    path.write_text(json.dumps(damage.apply(json.loads(path.read_text()), seed)))
    made_damage.check(made_up, damage, skeleton=str(path))


@pytest.mark.parametrize("depth", [10**5, 2 * 10**5])
def test_endless_nesting_is_a_finding(made_up, tmp_path, depth):
    path = tmp_path / "deep.json"
    path.write_text("[" * depth)
    assert kinds(made_up, skeleton=str(path)) == {"skeleton": "error"}


@pytest.mark.parametrize(
    ("sigma", "severity"), [(0.004, "error"), (0.006, "warning"), (0.29, "warning"), (2.6, "error")]
)
def test_sigmas_are_shares_of_a_persons_size(sigma, severity):
    other = dataclasses.replace(skeletons.COCO, sigmas=(sigma, *skeletons.COCO.sigmas[1:]))
    assert [finding.severity for finding in skeleton_files._sigmas(other)] == [severity]
