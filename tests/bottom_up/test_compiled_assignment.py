import jax
import numpy as np

from hrnet_jax.bottom_up import assignment, compiled_assignment

SIZE = 12


def random_tables(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Costs with many ties, of different sizes, and the same filled up to one size."""
    rng = np.random.RandomState(0)
    tables, filled_up = [], np.tile(np.where(np.eye(SIZE), 0, np.inf), (count, 1, 1))
    for number in range(count):
        size = rng.randint(1, SIZE + 1)
        cost = rng.randint(0, 4, (size, size)) * 100.0 - rng.rand(size, 1).astype(np.float32)
        if number % 3:
            cost[:, size - rng.randint(size) :] = 1e10
        if number % 2:
            cost[size - rng.randint(size) :] = 0
        tables.append(cost)
        filled_up[number, :size, :size] = cost
    return tables, filled_up


def test_it_finds_what_is_found_on_the_host():
    tables, filled_up = random_tables(300)
    with jax.enable_x64(True):
        columns = np.asarray(jax.jit(jax.vmap(compiled_assignment.assign))(filled_up))
    for table, found in zip(tables, columns, strict=True):
        assert found[: len(table)].tolist() == assignment.assign(table)


def test_sets_may_fill_the_machine_word():
    cost = np.random.RandomState(1).randint(0, 9, [compiled_assignment.MAX_SIZE] * 2).astype(np.float64)
    with jax.enable_x64(True):
        assert jax.jit(compiled_assignment.assign)(cost).tolist() == assignment.assign(cost)
