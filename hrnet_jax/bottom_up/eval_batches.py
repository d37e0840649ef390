"""Batches of whole photos to find people in: all photos of a split, those with images of equal sizes together."""

import collections
import concurrent.futures
from collections.abc import Iterator, Sequence

from hrnet_jax import pipeline
from hrnet_jax.bottom_up import inference, resize
from hrnet_jax.datasets import annotated_photos, records


def group_photos(
    photos: annotated_photos.AllPhotos, settings: inference.Settings, batch_size: int
) -> list[list[int]]:
    """Returns the rows of all photos in groups of up to `batch_size` whose images have equal sizes."""
    groups = resize.group_by_size(photos.sizes, settings.input_size, settings.scales).values()
    return [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]


def load(
    split: records.Split,
    photos: annotated_photos.AllPhotos,
    groups: Sequence[Sequence[int]],
    settings: inference.Settings,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
) -> Iterator[inference.Batch]:
    """Yields a batch for each group of `group_photos`.

    Names and plans are those of all photos of a group, images this process's share. Batches are padded with copies
    of the last photo, so that all have the same size and all processes take the same steps.
    """
    local_size = pipeline.local_batch_size(batch_size, process_count)
    share = slice(process_index * local_size, (process_index + 1) * local_size)

    def make(group: Sequence[int]) -> inference.Batch:
        rows = ([*group] + [group[-1]] * batch_size)[:batch_size][share]
        read = {row: records.read_photo(split.photos, split.decoded, photos, row) for row in set(rows)}
        batch = inference.make_batch([read[row] for row in rows], [""] * len(rows), settings)
        names = [f"photo {photos.photo_id[row]}" for row in group]
        return batch._replace(names=names, plans=[settings.plan(photos.sizes[row]) for row in group])

    with concurrent.futures.ThreadPoolExecutor(max(threads, 1)) as pool:
        waiting: collections.deque[concurrent.futures.Future] = collections.deque()
        for group in groups:
            waiting.append(pool.submit(make, group))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
