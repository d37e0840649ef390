import made_damage
from made_damage import Damage, labelled, some, swap

from hrnet_jax.skeletons import COCO


def swap_pairs(content, rng, pairs=COCO.flip_pairs):
    for person in content["annotations"]:
        person["keypoints"] = swap(person["keypoints"], pairs, 3)


def swap_one_pair(content, rng):
    swap_pairs(content, rng, [COCO.flip_pairs[rng.integers(len(COCO.flip_pairs))]])


def swap_some_pairs(content, rng):
    count = rng.integers(2, len(COCO.flip_pairs))
    chosen = rng.choice(len(COCO.flip_pairs), count, replace=False)
    swap_pairs(content, rng, [COCO.flip_pairs[k] for k in chosen])


def swap_half_the_people(content, rng):
    for person in some(labelled(content), rng, 0.5):
        person["keypoints"] = swap(person["keypoints"], COCO.flip_pairs, 3)


DAMAGES = [
    Damage("all swapped", swap_pairs, "sides_swapped"),
    Damage("one pair swapped", swap_one_pair, "sides_swapped"),
    Damage("some pairs swapped", swap_some_pairs, "sides_swapped"),
    Damage("half the people swapped", swap_half_the_people, "sides_mirrored", ("sides_partly",)),
]


@made_damage.cases(DAMAGES)
def test_finds_swapped_sides(base, tmp_path, damage, seed):
    made_damage.check_annotations(base, tmp_path / "root", damage, seed)
