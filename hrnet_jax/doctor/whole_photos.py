"""Whether a prepared split can be trained on as whole photos, for networks that find everyone without boxes."""

import pathlib

import numpy as np

from hrnet_jax import configuration
from hrnet_jax.datasets import masks, records
from hrnet_jax.datasets.annotated_photos import AnnotatedPhotos
from hrnet_jax.doctor.findings import Finding, attempt, found, topic

MOST_PEOPLE = configuration.BOTTOM_UP["most_people"].default
AGAIN = "prepare the split again: `python -m hrnet_jax.prepare ... --force`"


@topic("whole_photos", {})
def examine(directory: pathlib.Path) -> tuple[dict[str, str], list[Finding]]:
    """Examines the masks of a split in COCO's form and the number of people on its photos."""
    if not (directory / masks.FILE).is_file():
        what = "there are no masks of crowds, which bottom-up training needs; networks for boxes do not"
        return {}, found("masks_missing", "note", [masks.FILE], what, AGAIN)
    _, damaged = attempt(lambda: masks.read(directory), "masks_damaged", masks.FILE, AGAIN)
    if damaged:
        return {}, damaged
    try:
        photos = AnnotatedPhotos.of_split(records.open_split(directory, with_pixels=False))
    except Exception:  # TFDS raises anything on damaged records; there is a finding about it
        return {}, []
    if not len(photos):  # of a test server
        return {}, []
    unlabelled = int((~photos.visible.any(axis=1)).sum())
    masked = len(np.unique(photos.masks.photo_id))
    facts = (
        f"{len(photos):,} with annotations, {masked:,} of them with crowds or people without joints, which do not"
        f" count; up to {photos.counts.max(initial=0):,} people on one, {unlabelled:,} of all without joints"
    )
    return {"whole photos": facts}, _many_people(photos)


def _many_people(photos: AnnotatedPhotos) -> list[Finding]:
    """Finds photos with more people than the usual configuration trains on."""
    many = photos.photo_id[photos.counts > MOST_PEOPLE]
    what = (
        f"{{count}} of {{of}} photos have more than {MOST_PEOPLE} people, up to {photos.counts.max(initial=0):,}:"
        f" bottom-up training takes the first {MOST_PEOPLE} of each"
    )
    remedy = f"set `--config.most_people={photos.counts.max(initial=0)}`; networks for boxes take them all"
    return found("people_many", "note", many, what, remedy, of=len(photos))
