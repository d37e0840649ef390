"""Checks a skeleton: missing or unusual sigmas, and mirror pairs that contradict the joints' names."""

import json
import pathlib
import tempfile

from hrnet_jax import skeletons, validation
from hrnet_jax.doctor import joint_names
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.skeletons import COCO, Skeleton

DEFAULT_SIGMA = 0.05  # replaces missing ones; only affects the search for duplicate people
SIGMAS = (
    "a number for each joint: the deviation of annotators as a share of a person's size (COCO: .025 for eyes to"
    " .107 for hips)"
)
SIGMA_RANGE = (0.005, 0.3)  # COCO's are .025 to .107; annotations that differ by .3 of a person's size are useless


def read(name_or_path: str) -> tuple[Skeleton | None, list[Finding]]:
    """Reads a skeleton. Fills in missing or malformed sigmas. Raises FileNotFoundError if there is none."""
    try:
        skeleton = skeletons.load(name_or_path)
        return skeleton, examine(skeleton)
    except ValueError as error:
        remedy = "correct the skeleton's file: README.md shows one in `Your own data`"
        refused = found("skeleton", "error", [pathlib.Path(name_or_path).name], str(error), remedy)
    try:
        content = validation.read_json(pathlib.Path(name_or_path))
        content["sigmas"] = [DEFAULT_SIGMA] * len(content["joints"])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "skeleton.json"
            path.write_text(json.dumps(content))
            skeleton = skeletons.load(path)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, refused
    names = content["joints"]
    what = f"the skeleton has no sigmas for its {len(names)} joints; OKS and AP need them"
    remedy = f"write `sigmas`, {SIGMAS}"
    return skeleton, found("sigmas", "error", names, what, remedy) + examine(skeleton)


def examine(skeleton: Skeleton) -> list[Finding]:
    """Examines sigmas and mirror pairs."""
    return _sigmas(skeleton) + _pairs(skeleton)


def _sigmas(skeleton: Skeleton) -> list[Finding]:
    pairs = list(zip(skeleton.joints, skeleton.sigmas, strict=True))
    odd = [f"{name} {sigma:g}" for name, sigma in pairs if not SIGMA_RANGE[0] <= sigma <= SIGMA_RANGE[1]]
    what = f"the sigmas of {{count}} of {{of}} joints are not in {SIGMA_RANGE[0]:g} to {SIGMA_RANGE[1]:g}"
    findings = found("sigmas", "error", odd, what, f"write {SIGMAS}", of=len(pairs))
    if odd or skeleton.joints != COCO.joints:
        return findings
    other = [f"{name} {s:g}, not {c:g}" for (name, s), c in zip(pairs, COCO.sigmas, strict=True) if s != c]
    what = "the joints are COCO's, but {count} of {of} sigmas are not: AP is not comparable with published values"
    remedy = "use --skeleton coco, or rename the joints"
    return found("sigmas", "warning", other, what, remedy, of=len(pairs))


def _pairs(skeleton: Skeleton) -> list[Finding]:
    """Compares the mirror pairs with those that the names imply."""
    names = skeleton.joints
    implied = {
        frozenset((index, names.index(other)))
        for index, name in enumerate(names)
        if (other := joint_names.mirror_name(name, names)) != name
    }
    given = {frozenset(pair) for pair in skeleton.flip_pairs}
    sided = {joint for pair in implied for joint in pair}
    wrong = (implied - given) | {pair for pair in given - implied if pair & sided or len(pair) == 1}
    listed = sorted(" and ".join(names[joint] for joint in sorted(pair)) for pair in wrong)
    what = "{count} mirror pairs are missing or contradict the joints' names"
    remedy = "pair each left joint with its right one in `flip_pairs`: else flipped people are learned wrongly"
    return found("flip_pairs", "error", listed, what, remedy)
