"""What is wrong with a skeleton: sigmas that are missing or not COCO's, mirror pairs against the joints' names."""

import json
import pathlib
import tempfile

from hrnet_jax import skeletons, validation
from hrnet_jax.doctor import joint_names
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.skeletons import COCO, Skeleton

PLAIN_SIGMA = 0.05  # to go on with where a file has none; nothing is measured in it but likeness of duplicates
SIGMA_RANGE = (0.005, 0.3)  # COCO's lie between .025 and .107: a joint no one can place at .3 of a person's size


def read(name_or_path: str) -> tuple[Skeleton | None, list[Finding]]:
    """Reads a skeleton; one whose sigmas are missing or no numbers is completed to go on with.

    Raises:
      FileNotFoundError: there is neither such a skeleton nor such a file.
    """
    try:
        skeleton = skeletons.load(name_or_path)
        return skeleton, examine(skeleton)
    except ValueError as error:
        remedy = "mend the skeleton's file: README.md shows one, in `Your own data`"
        refused = found("skeleton", "error", [pathlib.Path(name_or_path).name], str(error), remedy)
    try:
        content = validation.read_json(pathlib.Path(name_or_path))
        plain = content | {"sigmas": [PLAIN_SIGMA] * len(content["joints"])}
        skeleton = _through_file(plain)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, refused
    names = content["joints"]
    what = f"the skeleton has no sigmas for its {len(names)} joints, in which OKS and so AP are measured"
    remedy = (
        "write `sigmas`, a number for each joint: how far annotators disagree, as a share of a person's size"
        " (COCO: .025 for eyes to .107 for hips)"
    )
    return skeleton, found("sigmas", "error", names, what, remedy) + examine(skeleton)


def _through_file(content: dict) -> Skeleton:
    """Makes a skeleton of what a file would hold."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "skeleton.json"
        path.write_text(json.dumps(content))
        return skeletons.load(path)


def examine(skeleton: Skeleton) -> list[Finding]:
    """Looks at a skeleton that can be read."""
    return _sigmas(skeleton) + _pairs(skeleton)


def _sigmas(skeleton: Skeleton) -> list[Finding]:
    pairs = list(zip(skeleton.joints, skeleton.sigmas, strict=True))
    odd = [f"{name} {sigma:g}" for name, sigma in pairs if not SIGMA_RANGE[0] <= sigma <= SIGMA_RANGE[1]]
    what = "the sigmas of {count} of {of} joints are out of all proportion"
    remedy = "give them as shares of a person's size: COCO's are .025 for eyes to .107 for hips"
    findings = found("sigmas", "error", odd, what, remedy, of=len(pairs))
    if odd or skeleton.joints != COCO.joints:
        return findings
    other = [f"{name} {s:g}, not {c:g}" for (name, s), c in zip(pairs, COCO.sigmas, strict=True) if s != c]
    what = "the joints are COCO's, but {count} of {of} sigmas are not: AP is not comparable with others'"
    remedy = "use --skeleton coco, or give the joints other names"
    return found("sigmas", "warning", other, what, remedy, of=len(pairs))


def _pairs(skeleton: Skeleton) -> list[Finding]:
    """Compares the mirror pairs with the names: what is left of a name without its side must be the same."""
    names = skeleton.joints
    meant = {
        frozenset((index, names.index(other)))
        for index, name in enumerate(names)
        if (other := joint_names.mirror_name(name, names)) != name
    }
    given = {frozenset(pair) for pair in skeleton.flip_pairs}
    sided = {joint for pair in meant for joint in pair}
    wrong = (meant - given) | {pair for pair in given - meant if pair & sided or len(pair) == 1}
    listed = sorted(" and ".join(names[joint] for joint in sorted(pair)) for pair in wrong)
    what = "the mirror pairs are not what the joints' names say: {count} are missing or of different parts"
    remedy = "pair each left joint with the right one in `flip_pairs`: mirrored people would be learned wrongly"
    return found("flip_pairs", "error", listed, what, remedy)
