"""Work done ahead, in threads or on a device, while its results are used in order."""

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
    nothing is made ahead. An error of the function or of `items` is raised in its turn, after the results before
    it. Closing the iterator waits for the calls that run.
    """
    if threads < 1:
        yield from map(function, items)
        return
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        for call in _calls(pool, function, items):
            pending.append(call)
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _calls(
    pool: concurrent.futures.Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[concurrent.futures.Future[Result]]:
    """Starts a call for each item. An error of `items`, also Ctrl-C, becomes a call that failed."""
    iterator = iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except BaseException as error:
            failed: concurrent.futures.Future[Result] = concurrent.futures.Future()
            failed.set_exception(error)
            yield failed
            return
        yield pool.submit(function, item)


def one_late(values: Iterable[Result]) -> Iterator[Result]:
    """Yields each value after the next one was made, so that the device has work while the host reads results."""
    pending: list[Result] = []
    for value in values:
        pending.append(value)
        if len(pending) > 1:
            yield pending.pop(0)
    yield from pending
