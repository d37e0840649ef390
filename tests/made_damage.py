"""Data sets with a known damage, and the check that the doctor finds that damage and nothing else."""

import copy
import dataclasses
import json
import pathlib
import shutil
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from hrnet_jax.datasets.made_up import dataset
from hrnet_jax.doctor import __main__ as doctor

SEEDS = range(3)
SHARE = 0.3  # of the entries, where a damage does not affect all of them
SPLIT = "val2017"
CONSEQUENCE = "ap_limited"  # a note: people who are dropped for a damage count as missed


@dataclasses.dataclass(frozen=True)
class Damage:
    """A damage to a data set.

    Attributes:
      name: in the test's id; also seeds the random numbers.
      plant: changes its first argument, loaded JSON or a path, in place.
      expected: the kind of finding that the doctor must report.
      allowed: kinds that it may report as well.
    """

    name: str
    plant: Callable[[Any, np.random.Generator], None]
    expected: str
    allowed: tuple[str, ...] = ()

    def apply(self, target: Any, seed: int) -> Any:
        """Damages `target` in place and returns it."""
        self.plant(target, np.random.default_rng([zlib.crc32(self.name.encode()), seed]))
        return target


def cases(damages: Sequence[Damage]):
    """Parametrizes a test by `damage` and `seed`."""
    every = [pytest.param(damage, seed, id=f"{damage.name}-{seed}") for damage in damages for seed in SEEDS]
    return pytest.mark.parametrize("damage, seed", every)


def findings(path: pathlib.Path, **options) -> list:
    """Runs the doctor and returns all findings, after a check that each is complete."""
    _, parts = doctor.examine(path, **options)
    every = [finding for part in parts for finding in part.findings]
    for finding in every:
        assert finding.what and finding.remedy and finding.file and finding.split and finding.count > 0
        assert finding.examples and "{count}" not in finding.what
    return every


def kinds(path: pathlib.Path, **options) -> dict[str, str]:
    """Runs the doctor and returns the severity of each kind of finding."""
    return {finding.kind: finding.severity for finding in findings(path, **options)}


def check(path: pathlib.Path, damage: Damage, **options) -> None:
    """Checks that the doctor finds a damage, and nothing that the damage does not explain."""
    found = kinds(path, **options)
    assert damage.expected in found
    assert found[damage.expected] != "note"
    unexplained = set(found) - {CONSEQUENCE, damage.expected, *damage.allowed}
    assert not unexplained, (damage.expected, unexplained)


def check_annotations(base: pathlib.Path, root: pathlib.Path, damage: Damage, seed: int) -> None:
    """Plants a damage in a copy of `base`'s annotations at `root`, and checks that the doctor finds it."""
    check(write_coco(root, base, damage.apply(annotations(base), seed)), damage)


def annotations(base: pathlib.Path) -> dict:
    return json.loads((base / "annotations" / f"person_keypoints_{SPLIT}.json").read_text())


def boxes(base: pathlib.Path) -> list[dict]:
    return json.loads((base / dataset.DETECTIONS).read_text())


def write_coco(
    root: pathlib.Path, base: pathlib.Path, content: dict, detections: list | None = None, *, copy_photos=False
) -> pathlib.Path:
    """Writes a data set at `root` of these annotations, with the photos of `base` linked or copied."""
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / f"person_keypoints_{SPLIT}.json").write_text(json.dumps(content))
    (root / "images").mkdir()
    if copy_photos:
        shutil.copytree(base / "images" / SPLIT, photos(root))
    else:
        photos(root).symlink_to(base / "images" / SPLIT)
    if detections is not None:
        (root / dataset.DETECTIONS).parent.mkdir()
        (root / dataset.DETECTIONS).write_text(json.dumps(detections))
    return root


def photos(root: pathlib.Path) -> pathlib.Path:
    return root / "images" / SPLIT


def mpii_rows(base: pathlib.Path) -> list[dict]:
    return json.loads((base / "annot" / "valid.json").read_text())


def write_mpii(root: pathlib.Path, base: pathlib.Path, rows: list[dict], *splits: str) -> pathlib.Path:
    """Writes a data set in MPII's layout at `root`, with the photos of `base`."""
    (root / "annot").mkdir(parents=True)
    for split in splits or ("valid",):
        (root / "annot" / f"{split}.json").write_text(json.dumps(rows))
    (root / "images").symlink_to(base / "images")
    return root


def some(entries: list, rng: np.random.Generator, share: float = SHARE) -> list:
    """Draws a share of the entries, at least one."""
    count = max(1, round(share * len(entries)))
    return [entries[row] for row in rng.choice(len(entries), count, replace=False)]


def repeat_some(entries, rng):
    entries += copy.deepcopy(some(entries, rng))


def boxes_as_corners(entries, rng):
    for entry in entries:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x, y, x + width, y + height]


def labelled(content: dict, least: int = 1) -> list[dict]:
    """Returns the people with at least so many labelled joints, crowds left out."""
    people = [person for person in content["annotations"] if not person["iscrowd"]]
    return [person for person in people if sum(flag > 0 for flag in person["keypoints"][2::3]) >= least]


def swap(points: list, pairs, width: int) -> list:
    """Exchanges the joints of pairs in a flat list with `width` numbers for each joint."""
    rows = [points[start : start + width] for start in range(0, len(points), width)]
    for a, b in pairs:
        rows[a], rows[b] = rows[b], rows[a]
    return [number for row in rows for number in row]


def truncate(path: pathlib.Path, rng: np.random.Generator, spare: int = 0) -> None:
    """Cuts a file off at a random place, at least `spare` bytes before its end."""
    path.write_bytes(path.read_bytes()[: int(rng.integers(1, path.stat().st_size - spare))])


def edit_json(path: pathlib.Path, change: Callable[[Any], None]) -> None:
    """Loads a JSON file, lets `change` edit its content in place, and writes it back."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
