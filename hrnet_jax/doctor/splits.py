"""Examinations that all formats share: people, their photos and colours."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from hrnet_jax.datasets import photo_stores
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import colours, people, pictures, sides
from hrnet_jax.doctor.findings import Examination, Finding, not_examined, topic, with_location
from hrnet_jax.doctor.pictures import Looks
from hrnet_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Examined:
    """The result for a split: the examination, and the photos' names by the digests of their files."""

    part: Examination
    names: dict[str, str]


def guarded(path: pathlib.Path, split: str, look: Callable[[], Examined]) -> Examined:
    """Examines a split, and turns an unexpected error into a finding."""
    try:
        return look()
    except Exception as error:
        return Examined(Examination(split, {}, with_location(not_examined(split, error), path, split)), {})


def named(photos: Mapping[int, Photo], looks: Looks | None) -> dict[str, str]:
    """Returns file names by digest."""
    digests = looks.digests if looks else {}
    return {digest: photos[number].file_name for number, digest in digests.items()}


@topic("people", {})
def examine_people(
    table: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], *, squares: bool
) -> tuple[dict[str, str], list[Finding]]:
    """Examines people without reading photos. `squares`: boxes are MPII's, made from centre and scale."""
    size = people.sizes(table.photo_id, photos)
    findings = people.flags(table) + people.joints(table, size, None if squares else table.box)
    if not squares:
        findings += people.boxes(table.annotation_id, table.box, size) + people.areas(table)
    findings += people.twice(table, skeleton)
    fact, about_sides = sides.examine(_located(table), skeleton)
    labelled = int(table.labelled.any(axis=1).sum())
    facts = {"people": f"{len(table):,}, {labelled:,} with labelled joints", "left and right": fact}
    return facts, findings + about_sides


@topic("colour order", {})
def examine_colours(
    table: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], place: PhotoStore, looks: Looks
) -> tuple[dict[str, str], list[Finding]]:
    """Examines the colours of faces on readable photos."""

    def read(photo_id: int) -> np.ndarray | None:
        if photo_id not in looks.digests:
            return None
        return photo_stores.decode(place.read(photos[photo_id].file_name), photo_id=photo_id)

    fact, findings = colours.examine(_located(table), skeleton, read)
    return {"colour order": fact}, findings


def _located(table: AnnotatedPeople) -> AnnotatedPeople:
    """Removes the labels of joints at 0, 0. They would be taken for faces."""
    return dataclasses.replace(table, flags=np.where(people.nowhere(table), 0, table.flags))


def examine_photos(
    place: PhotoStore, photos: Mapping[int, Photo], title: str
) -> tuple[Looks, dict[str, str], list[Finding]]:
    """Reads and examines all photos."""
    looks = pictures.look(place, photos, title)
    fact = f"{len(photos) - len(looks.problems):,} of {len(photos):,} are whole"
    return looks, {"photos": fact}, pictures.examine(photos, looks)


def with_sizes(photos: Mapping[int, Photo], looks: Looks) -> dict[int, Photo]:
    """Fills in sizes that the annotations lack from the photos' files."""
    return {
        number: dataclasses.replace(photo, width=looks.sizes[number][0], height=looks.sizes[number][1])
        if not photo.width and number in looks.sizes
        else photo
        for number, photo in photos.items()
    }
