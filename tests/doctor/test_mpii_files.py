import made_damage
import made_mpii
import pytest
from made_damage import Damage, kinds, some, swap, write_mpii

from hrnet_jax.doctor import mpii_files
from hrnet_jax.skeletons import MPII


def swap_pair(rows, rng):
    pair = MPII.flip_pairs[rng.choice([3, 4, 5])]  # arms: three of the five people lack a labelled ankle
    for row in rows:
        row["joints"], row["joints_vis"] = swap(row["joints"], [pair], 1), swap(row["joints_vis"], [pair], 1)


def place_joints_nowhere(rows, rng):
    for row in some(rows, rng):
        for joint in rng.choice(MPII.num_joints, 3, replace=False):
            row["joints"][joint] = [-1.0, -1.0]


def write_other_flags(rows, rng):
    for row in some(rows, rng):
        row["joints_vis"][int(rng.integers(MPII.num_joints))] = int(rng.choice([2, 3]))


def clear_flags(rows, rng):
    for row in some(rows, rng):
        row["joints_vis"] = [0] * MPII.num_joints


def move_joints_off_the_photo(rows, rng):
    for row in some(rows, rng):
        row["joints"][int(rng.integers(8, MPII.num_joints))] = [2000.0, 300.0]


def change_scales(rows, rng):
    for row in some(rows, rng):
        row["scale"] *= float(rng.choice([200, 0.01]))


def malform(rows, rng):
    for row in some(rows, rng):
        row[str(rng.choice(["center", "scale", "joints", "joints_vis"]))] = "much"


DAMAGES = [
    Damage("one pair swapped", swap_pair, "sides_swapped"),
    Damage("labelled nowhere", place_joints_nowhere, "joints_nowhere", ("scales",)),
    Damage("flags odd", write_other_flags, "flags", ("joints_nowhere",)),
    Damage("flags lost", clear_flags, "flags_lost"),
    Damage("joints off the photo", move_joints_off_the_photo, "joints_outside_photo", ("scales",)),
    Damage("people twice", made_damage.repeat_some, "people_twice"),
    Damage("scales", change_scales, "scales", ("joints_outside_photo",)),
    Damage("malformed", malform, "people_malformed"),
]


@made_damage.cases(DAMAGES)
def test_finds_damaged_rows(mpii_five, tmp_path, damage, seed):
    rows = damage.apply(made_damage.mpii_rows(mpii_five), seed)
    made_damage.check(write_mpii(tmp_path / "root", mpii_five, rows), damage)


def found_in(root, rows) -> dict[str, tuple]:
    made_mpii.write(root, rows)
    _, people, findings = mpii_files.read(root / "annot" / "valid.json", MPII)
    assert people is not None
    return {finding.kind: finding.examples for finding in findings}


@pytest.mark.parametrize(("factor", "odd"), [(1, False), (0.5, False), (3, False), (0.2, True), (20, True)])
def test_scales_must_fit_the_joints(tmp_path, factor, odd):
    """These people are 40 to 48 pixels tall, and their joints extend over 26 to 29 pixels."""
    rows = made_mpii.people()
    rows[2]["scale"] *= factor
    assert found_in(tmp_path, rows) == ({"scales": (3,)} if odd else {})
    rows[2]["joints_vis"] = [0] * 14 + [1] * 2  # too few joints to decide
    assert found_in(tmp_path, rows) == {}


def test_rows_without_a_scale_or_with_other_flags_are_found(tmp_path):
    rows = made_mpii.people()
    rows[1]["scale"], rows[3]["joints_vis"][4] = -1, 2
    assert found_in(tmp_path, rows) == {"flags": (4,), "scales": (2,)}


@pytest.mark.parametrize("flags", [None, [[1]]])
def test_flags_without_joints_are_not_read(mpii_five, tmp_path, flags):
    unlabelled = [
        {name: row[name] for name in ("image", "center", "scale")} | {"joints_vis": flags}
        for row in made_damage.mpii_rows(mpii_five)
    ]
    assert kinds(write_mpii(tmp_path / "root", mpii_five, unlabelled, "test")) == {}
