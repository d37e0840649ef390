"""What all entries of a COCO file share, so that some programs leave it out or write it into each.

Annotations of the only category may have no `category_id`. Names of photos may be paths of the computer on which
the file was written (``/home/me/data/val/a.jpg``, ``../upload/4/a.jpg``): the folders that all such names share
are taken off, so that subfolders stay apart.
"""

import re
from typing import Any

from hrnet_jax.datasets import file_names

ELSEWHERE = re.compile(r"[/\\]|[A-Za-z]:|[a-z]{2,}://|(.*[/\\])?\.\.[/\\]")
"""Begins names that lead out of the folder of photos."""

LEAST = 2  # such names: what one name would share with others is unknown


def resolve(content: Any) -> tuple[Any, dict[str, list[Any]]]:
    """Returns the content with these values in each entry, and the entries by kind, see `coco_entries.ASSUMED`.

    Content of another form, and names that are ambiguous without their folders, stay as they are.
    """
    if not isinstance(content, dict):
        return content, {}
    images, names = _shorten(content.get("images"))
    annotations, rows = _categorize(content.get("annotations"), content.get("categories"))
    changed = {"images": images} if names else {}
    changed |= {"annotations": annotations} if rows else {}
    assumed = {"names_shortened": names, "categories_assumed": rows}
    return {**content, **changed}, {kind: found for kind, found in assumed.items() if found}


def _shorten(entries: Any) -> tuple[Any, list[str]]:
    """Takes off the folders that names of photos elsewhere share. Also returns these names as they were."""
    if not isinstance(entries, list):
        return entries, []
    named = (entry.get("file_name") if isinstance(entry, dict) else None for entry in entries)
    names = [name if isinstance(name, str) else "" for name in named]
    outside = [name for name in names if ELSEWHERE.match(name)]
    if len(outside) < LEAST:
        return entries, []
    paths = {name: name.replace("\\", "/") for name in outside}
    common = file_names.common_folders([*paths.values()])
    short = {name: path.removeprefix(common) for name, path in paths.items()}
    if not {*short.values()}.isdisjoint({*names} - {*outside}):
        return entries, []
    return [
        {**entry, "file_name": short[name]} if name in short else entry
        for entry, name in zip(entries, names, strict=True)
    ], outside


def _categorize(entries: Any, categories: Any) -> tuple[Any, list[int]]:
    """Gives the only category to entries without one. Also returns their rows."""
    if not isinstance(entries, list) or not isinstance(categories, list) or len(categories) != 1:
        return entries, []
    number = categories[0].get("id") if isinstance(categories[0], dict) else None
    rows = [
        row for row, entry in enumerate(entries) if isinstance(entry, dict) and entry.get("category_id") is None
    ]
    without = {*rows}
    return [
        {**entry, "category_id": number} if row in without else entry for row, entry in enumerate(entries)
    ], rows
