"""Random damage to annotation files, with the findings that the doctor must and may report."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np

from hrnet_jax.skeletons import COCO, MPII, Skeleton

SHARE = 0.3  # of the people, unless all are damaged
ONLY_SEEN = 2


@dataclasses.dataclass(frozen=True)
class Damage:
    """A kind of damage. `plant` damages the content in place. `kind` must be found and `besides` may be found."""

    plant: Callable[[dict, np.random.Generator], None]
    kind: str
    besides: tuple[str, ...] = ()


def some(entries: list, rng: np.random.Generator, share: float = SHARE) -> list:
    """Draws a share of the entries, at least one."""
    count = max(1, round(share * len(entries)))
    return [entries[row] for row in rng.choice(len(entries), count, replace=False)]


def labelled(content: dict, least: int = 1) -> list[dict]:
    """Returns the people with at least `least` labelled joints."""
    people = [p for p in content["annotations"] if not p["iscrowd"]]
    return [p for p in people if sum(flag > 0 for flag in p["keypoints"][2::3]) >= least]


def swap(points: list, pairs, width: int) -> list:
    """Exchanges the joints of pairs in a flat list with `width` numbers for each."""
    rows = [points[start : start + width] for start in range(0, len(points), width)]
    for a, b in pairs:
        rows[a], rows[b] = rows[b], rows[a]
    return [number for row in rows for number in row]


def photo_of(content: dict, person: dict) -> dict:
    return next(image for image in content["images"] if image["id"] == person["image_id"])


def swapped_pairs(content, rng, names=None):
    pairs = COCO.flip_pairs if names is None else [COCO.flip_pairs[k] for k in names]
    for person in content["annotations"]:
        person["keypoints"] = swap(person["keypoints"], pairs, 3)


def one_pair(content, rng):
    swapped_pairs(content, rng, [rng.integers(len(COCO.flip_pairs))])


def some_pairs(content, rng):
    count = rng.integers(2, len(COCO.flip_pairs))
    swapped_pairs(content, rng, rng.choice(len(COCO.flip_pairs), count, replace=False))


def people_swapped(content, rng):
    for person in some(labelled(content), rng, 0.5):
        person["keypoints"] = swap(person["keypoints"], COCO.flip_pairs, 3)


def boxes_shifted(content, rng):
    for person in some(content["annotations"], rng):
        image = photo_of(content, person)
        person["bbox"][int(rng.integers(2))] += float(rng.choice([-1, 1])) * max(image["width"], image["height"])


def boxes_empty(content, rng):
    for person in some(content["annotations"], rng):
        person["bbox"][2 + int(rng.integers(2))] = float(rng.choice([0, -5]))


def boxes_as_corners(content, rng):
    for person in content["annotations"]:
        x, y, width, height = person["bbox"]
        person["bbox"] = [x, y, x + width, y + height]


def boxes_as_shares(content, rng):
    for person in content["annotations"]:
        image = photo_of(content, person)
        person["bbox"] = [n / image["width" if k % 2 == 0 else "height"] for k, n in enumerate(person["bbox"])]


def flags_odd(content, rng):
    for person in some(labelled(content), rng):
        row = rng.choice(np.flatnonzero(np.array(person["keypoints"][2::3]) > 0))
        person["keypoints"][3 * row + 2] = float(rng.choice([3, -1, 255, 0.5]))
    count_joints(content)


def flags_lost(content, rng):
    for person in some(labelled(content), rng):
        person["keypoints"][2::3] = [0] * COCO.num_joints
    count_joints(content)


def flags_everywhere(content, rng):
    people = [p for p in labelled(content) if sum(flag == 0 for flag in p["keypoints"][2::3]) > 1]
    for person in some(people, rng):
        person["keypoints"][2::3] = [ONLY_SEEN] * COCO.num_joints
    count_joints(content)


def flags_exchanged(content, rng):
    for person in content["annotations"]:
        person["keypoints"][2::3] = [3 - flag if flag else 0 for flag in person["keypoints"][2::3]]


def count_joints(content):
    for person in content["annotations"]:
        person["num_keypoints"] = sum(flag > 0 for flag in person["keypoints"][2::3])


def joints_off_the_photo(content, rng):
    for person in some(labelled(content), rng):
        row = rng.choice(np.flatnonzero(np.array(person["keypoints"][2::3]) > 0))
        axis = int(rng.integers(2))
        image = photo_of(content, person)
        person["keypoints"][3 * row + axis] = float(rng.choice([-20, image["height" if axis else "width"] + 20]))


def joints_of_others(content, rng):
    for person in some(labelled(content, 4), rng):
        image = photo_of(content, person)
        points = np.array(person["keypoints"], float).reshape(-1, 3)
        shift = np.array([1.6 * person["bbox"][2], 0.0])
        points[points[:, 2] > 0, :2] += shift if person["bbox"][0] < image["width"] / 2 else -shift
        person["keypoints"] = points.ravel().tolist()


def categories_unknown(content, rng):
    for person in some(content["annotations"], rng):
        person["category_id"] = int(rng.integers(2, 90))


def category_renamed(content, rng):
    content["categories"][0]["name"] = str(rng.choice(["human", "Person", "pedestrian"]))


def keypoints_reordered(content, rng):
    names = content["categories"][0]["keypoints"]
    a, b = rng.choice(len(names), 2, replace=False)
    names[a], names[b] = names[b], names[a]


def people_twice(content, rng):
    for number, person in enumerate(some(labelled(content, 3), rng)):
        again = copy.deepcopy(person) | {"id": 10**9 + number}
        side = max(person["bbox"][2:])
        again["bbox"] = [n + float(rng.normal(0, 0.005)) * side for n in again["bbox"]]
        size = photo_of(content, person)
        again["bbox"][:2] = [max(0.0, n) for n in again["bbox"][:2]]
        again["bbox"][2] = min(again["bbox"][2], size["width"] - again["bbox"][0])
        again["bbox"][3] = min(again["bbox"][3], size["height"] - again["bbox"][1])
        content["annotations"].insert(int(rng.integers(len(content["annotations"]))), again)


def ids_twice(content, rng):
    first, second = some(content["annotations"], rng, 0)[0], content["annotations"][-1]
    first["id"] = content["annotations"][0]["id"] if first is second else second["id"]


def photos_unknown(content, rng):
    for person in some(content["annotations"], rng):
        person["image_id"] = int(rng.integers(10**7, 10**8))


def sizes_exchanged(content, rng):
    for image in some([image for image in content["images"] if image["width"] != image["height"]], rng):
        image["width"], image["height"] = image["height"], image["width"]


def photo_listed_twice(content, rng):
    image = some(content["images"], rng, 0)[0]
    content["images"].append(image | {"id": 10**8})


def areas_lost(content, rng):
    for person in some(content["annotations"], rng):
        person["area"] = float(rng.choice([0, -1]))


def areas_huge(content, rng):
    for person in some(content["annotations"], rng):
        person["area"] = float(person["bbox"][2] * person["bbox"][3] * rng.uniform(1.5, 9))


def counts_wrong(content, rng):
    for person in some(labelled(content), rng):
        person["num_keypoints"] = 0


def malformed(content, rng):
    for person in some(content["annotations"], rng):
        name = str(rng.choice(["bbox", "keypoints", "area", "image_id"]))
        if rng.random() < 0.5:
            del person[name]
        else:
            person[name] = [None, "much", float("nan"), [1, 2, 3]][rng.integers(4)]


# Findings that follow from a box that is moved or invalid.
MOVED = ("joints_outside_box", "areas_too_large", "people_twice", "detections_miss")
PEOPLE = {
    "all swapped": Damage(swapped_pairs, "sides_swapped"),
    "one pair swapped": Damage(one_pair, "sides_swapped"),
    "some pairs swapped": Damage(some_pairs, "sides_swapped"),
    "half the people swapped": Damage(people_swapped, "sides_mirrored", ("sides_partly",)),
    "boxes shifted": Damage(boxes_shifted, "boxes_outside", MOVED),
    "boxes empty": Damage(boxes_empty, "boxes_without_size", MOVED),
    "boxes as corners": Damage(boxes_as_corners, "boxes_as_corners", MOVED),
    "boxes as shares": Damage(boxes_as_shares, "boxes_as_shares", MOVED),
    "flags odd": Damage(flags_odd, "flags", ("flags_lost",)),
    "flags lost": Damage(flags_lost, "flags_lost"),
    "flags everywhere": Damage(flags_everywhere, "joints_nowhere", ("joints_outside_box", "sides_mirrored")),
    "hidden and visible exchanged": Damage(flags_exchanged, "flags_hidden", ("sides_partly",)),
    "joints off the photo": Damage(joints_off_the_photo, "joints_outside_photo", ("joints_outside_box",)),
    "joints of others": Damage(joints_of_others, "joints_outside_box", ("joints_outside_photo",)),
    "unknown categories": Damage(categories_unknown, "categories_unknown"),
    "category renamed": Damage(category_renamed, "categories"),
    "keypoints reordered": Damage(keypoints_reordered, "keypoint_names"),
    "people twice": Damage(people_twice, "people_twice"),
    "ids twice": Damage(ids_twice, "ids_twice"),
    "unknown photos": Damage(photos_unknown, "photos_unknown"),
    "sizes exchanged": Damage(sizes_exchanged, "photo_sizes", ("boxes_outside", "joints_outside_photo")),
    "photo listed twice": Damage(photo_listed_twice, "photos_listed_twice"),
    "areas lost": Damage(areas_lost, "areas_missing"),
    "areas huge": Damage(areas_huge, "areas_too_large"),
    "counts wrong": Damage(counts_wrong, "num_keypoints"),
    "malformed": Damage(malformed, "people_malformed", ("numbers_not_finite",)),
}


def dummy(boxes, rng):
    score = float(rng.random())
    boxes[:] = [box | {"score": score} for box in (boxes * 1000)[:1000]]


def known_dummy(boxes, rng):
    boxes[:] = [box | {"score": 1.0, "bbox": [10.0, 10.0, 100.0, 100.0]} for box in (boxes * 1000)[:1000]]


def known_dummy_elsewhere(boxes, rng):
    known_dummy(boxes, rng)
    for box in some(boxes, rng, float(rng.choice([SHARE, 1]))):
        box["image_id"] += 10**7


def other_split(boxes, rng):
    for box in some(boxes, rng, float(rng.uniform(0.1, 1))):
        box["image_id"] += 10**7


def other_category(boxes, rng):
    for box in some(boxes, rng):
        box["category_id"] = int(rng.integers(2, 90))


def percents(boxes, rng):
    for box in boxes:
        box["score"] *= 100


def boxes_twice(boxes, rng):
    boxes += copy.deepcopy(some(boxes, rng))


def corners(boxes, rng):
    for box in boxes:
        x, y, width, height = box["bbox"]
        box["bbox"] = [x, y, x + width, y + height]


def halved(boxes, rng):
    for box in boxes:
        box["bbox"] = [n / 2 for n in box["bbox"]]


def cut_short(boxes, rng):
    boxes[:] = boxes[: len(boxes) // 10]


def no_boxes(boxes, rng):
    for box in some(boxes, rng):
        box["bbox"] = [[1, 2], None, [1, 2, float("nan"), 4], "box"][rng.integers(4)]


BOXES = {
    "dummy": Damage(dummy, "detections_dummy"),
    "the known dummy": Damage(known_dummy, "detections_dummy"),
    "the known dummy of other photos": Damage(
        known_dummy_elsewhere, "detections_dummy", ("detections_unknown_photos",)
    ),
    "of another split": Damage(other_split, "detections_unknown_photos", ("detections_miss",)),
    "of other categories": Damage(other_category, "detections_categories", ("detections_miss",)),
    "scores in percent": Damage(percents, "detections_scores"),
    "twice": Damage(boxes_twice, "detections_twice"),
    "corners": Damage(corners, "detections_boxes_as_corners"),
    "of photos half the size": Damage(halved, "detections_miss"),
    "cut short": Damage(cut_short, "detections_miss"),
    "no boxes": Damage(no_boxes, "detections_malformed", ("detections_miss", "numbers_not_finite")),
}


def mpii_pair(rows, rng):
    pair = MPII.flip_pairs[rng.choice([3, 4, 5])]  # arms: of three of the five, an ankle is not labelled
    for row in rows:
        row["joints"], row["joints_vis"] = swap(row["joints"], [pair], 1), swap(row["joints_vis"], [pair], 1)


def mpii_nowhere(rows, rng):
    for row in some(rows, rng):
        for joint in rng.choice(MPII.num_joints, 3, replace=False):
            row["joints"][joint] = [-1.0, -1.0]


def mpii_flags(rows, rng):
    for row in some(rows, rng):
        row["joints_vis"][int(rng.integers(MPII.num_joints))] = int(rng.choice([2, 3]))


def mpii_lost(rows, rng):
    for row in some(rows, rng):
        row["joints_vis"] = [0] * MPII.num_joints


def mpii_outside(rows, rng):
    for row in some(rows, rng):
        row["joints"][int(rng.integers(8, MPII.num_joints))] = [2000.0, 300.0]


def mpii_twice(rows, rng):
    rows += copy.deepcopy(some(rows, rng))


def mpii_scales(rows, rng):
    for row in some(rows, rng):
        row["scale"] *= float(rng.choice([200, 0.01]))


def mpii_malformed(rows, rng):
    for row in some(rows, rng):
        row[str(rng.choice(["center", "scale", "joints", "joints_vis"]))] = "much"


MPII_ROWS = {
    "one pair swapped": Damage(mpii_pair, "sides_swapped"),
    "labelled nowhere": Damage(mpii_nowhere, "joints_nowhere", ("scales",)),
    "flags odd": Damage(mpii_flags, "flags", ("joints_nowhere",)),
    "flags lost": Damage(mpii_lost, "flags_lost"),
    "joints off the photo": Damage(mpii_outside, "joints_outside_photo", ("scales",)),
    "people twice": Damage(mpii_twice, "people_twice"),
    "scales": Damage(mpii_scales, "scales", ("joints_outside_photo",)),
    "malformed": Damage(mpii_malformed, "people_malformed"),
}


def as_file(skeleton: Skeleton) -> dict:
    """Returns a skeleton in the format of its JSON file."""
    name = skeleton.joints.__getitem__
    return {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "flip_pairs": [[name(a), name(b)] for a, b in skeleton.flip_pairs],
        "limbs": [[name(a), name(b)] for a, b in skeleton.limbs],
        "sigmas": list(skeleton.sigmas),
        "upper_body": [name(joint) for joint in skeleton.upper_body],
    }


def without_sigmas(content, rng):
    del content["sigmas"]


def fewer_sigmas(content, rng):
    del content["sigmas"][int(rng.integers(len(content["sigmas"]))) :]


def percent_sigmas(content, rng):
    content["sigmas"] = [100 * sigma for sigma in content["sigmas"]]


def doubled_sigmas(content, rng):
    content["sigmas"] = [2 * sigma for sigma in content["sigmas"]]


def pair_missing(content, rng):
    del content["flip_pairs"][int(rng.integers(len(content["flip_pairs"])))]


def pairs_crossed(content, rng):
    a, b = rng.choice(len(content["flip_pairs"]), 2, replace=False)
    pairs = content["flip_pairs"]
    pairs[a][1], pairs[b][1] = pairs[b][1], pairs[a][1]


def pairs_none(content, rng):
    content["flip_pairs"] = []


def pair_missing_in_capitals(content, rng):
    pair_missing(content, rng)
    _rename(content, str.upper)


def pairs_crossed_by_initials(content, rng):
    pairs_crossed(content, rng)
    _rename(content, lambda name: name.replace("left_", "L_").replace("right_", "R_"))


def _rename(content, change):
    for name in ("joints", "upper_body"):
        content[name] = [change(joint) for joint in content[name]]
    for name in ("flip_pairs", "limbs"):
        content[name] = [[change(joint) for joint in pair] for pair in content[name]]


SKELETONS = {
    "no sigmas": Damage(without_sigmas, "sigmas"),
    "fewer sigmas": Damage(fewer_sigmas, "sigmas"),
    "sigmas in percent": Damage(percent_sigmas, "sigmas"),
    "sigmas doubled": Damage(doubled_sigmas, "sigmas"),
    "a pair missing": Damage(pair_missing, "flip_pairs"),
    "pairs crossed": Damage(pairs_crossed, "flip_pairs"),
    "no pairs": Damage(pairs_none, "flip_pairs"),
    "a pair missing in capitals": Damage(pair_missing_in_capitals, "flip_pairs", ("keypoint_names",)),
    "pairs crossed by initials": Damage(pairs_crossed_by_initials, "flip_pairs", ("keypoint_names",)),
}
