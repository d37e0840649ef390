"""Names under which a photo may lie in a folder or zip file, other than the one in the annotations."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator

FOLDERS = {"images", "image", "imgs", "img", "photos", "jpegimages", "data", "."}
"""Folders that tools write before a photo's name, though the photo lies in the folder that is searched."""


def shorter(name: str, folders: Collection[str]) -> Iterator[str]:
    """Yields the name without its first folders, as long as they are of `FOLDERS` or of these."""
    head, slash, rest = name.partition("/")
    while slash and (head.lower() in FOLDERS or head in folders):
        yield rest
        head, slash, rest = rest.partition("/")


def by_key(names: Iterable[str]) -> dict[str, list[str]]:
    """Groups names by `key`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def key(name: str) -> str:
    """Returns what names share that differ only in the suffix's case or in the composition of accents."""
    stem, _, suffix = unicodedata.normalize("NFC", name).rpartition(".")
    return f"{stem}.{suffix.lower()}"
