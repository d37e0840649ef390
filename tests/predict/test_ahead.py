import threading

import pytest

from hrnet_jax.predict.ahead import map_ahead


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_order(threads):
    assert list(map_ahead(lambda x: x * x, range(20), threads=threads, depth=4)) == [x * x for x in range(20)]


def test_items_are_read_only_so_far_ahead():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    results = map_ahead(lambda x: x, items(), threads=2, depth=5)
    assert next(results) == 0 and len(read) == 6
    assert next(results) == 1 and len(read) == 7
    results.close()
    assert len(read) == 7


def test_calls_run_at_the_same_time():
    both = threading.Barrier(2, timeout=30)
    assert len(list(map_ahead(lambda _: both.wait(), range(2), threads=2, depth=2))) == 2


def test_errors_are_raised_in_their_turn():
    results = map_ahead(lambda x: 1 // x, [1, 0, 1], threads=2, depth=3)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_items_comes_after_the_results_before_it():
    def items():
        yield from range(3)
        raise KeyboardInterrupt

    found = []
    with pytest.raises(KeyboardInterrupt):
        for result in map_ahead(lambda x: x, items(), threads=2, depth=9):
            found.append(result)
    assert found == [0, 1, 2]
