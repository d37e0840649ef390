"""Findings in the content of a split that need no photos: what `prepare` says of the data it writes."""

import dataclasses
from collections.abc import Mapping, Sequence

from hrnet_jax.datasets import catalog, coco, coco_entries
from hrnet_jax.datasets.annotations import Sources, SplitContent
from hrnet_jax.doctor import boxes, coco_files, mpii_files, pictures, skeleton_files, splits
from hrnet_jax.doctor.findings import SEVERITIES, Examination
from hrnet_jax.skeletons import Skeleton


def examine(
    sources: Sources, skeleton: Skeleton, content: SplitContent, odd: Mapping[str, Sequence[str]]
) -> list[dict]:
    """Returns errors, warnings and what is assumed about entries, the worst first, as JSON.

    `odd` has the names of odd photos by kind, see `odd_photos`.
    """
    part = Examination(sources.split)
    part.add("skeleton", {}, skeleton_files.examine(skeleton))
    part.add(sources.photos.path, {}, pictures.odd(odd, len(content.photos)))
    found = ((photo.id, sources.photos.find(photo.file_name)) for photo in content.photos.values())
    part.add(sources.photos.path, {}, pictures.listed_twice(found, len(content.photos)))
    if isinstance(content.source, coco.Annotations):
        truth, about = coco_files.about(content.source, skeleton)
    else:
        truth, about = mpii_files.about(content.source)
    part.add(sources.annotations, {}, about)
    is_mpii, file = sources.dataset == "mpii", sources.annotations
    truth, _ = splits.examine_annotations(part, file, truth, skeleton, content.photos, squares=is_mpii)
    if content.detections and sources.detections:
        with_truth = truth if sources.with_people else None
        part.add(sources.detections, {}, boxes.reordered(content.reordered))
        part.add(sources.detections, *boxes.examine(content.detections[0], content.photos, with_truth))
    expected = catalog.DATA_SETS[sources.published].expected if sources.published else ()
    told = [
        each
        for each in part.findings
        if (each.severity != "note" or each.kind in coco_entries.ASSUMED) and each.kind not in expected
    ]
    ordered = sorted(told, key=lambda each: SEVERITIES.index(each.severity))
    return [dataclasses.asdict(each) | {"examples": list(each.examples)} for each in ordered]
