"""Work done ahead in threads while its results are used in order."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, depth: int
) -> Iterator[Result]:
    """Maps a function over items in threads. Results are in the order of the items.

    At most `depth` results are made ahead, so that memory is bounded; `items` are read as far. Without threads,
    nothing is made ahead. An error of the function is raised in its turn. Closing the iterator waits for the calls
    that run.
    """
    if threads < 1:
        yield from map(function, items)
        return
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
