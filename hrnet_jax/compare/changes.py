"""Comparisons of our network with itself: before a change of the code, with other weights, in another run.

Results must be equal bit for bit unless a tolerance is given.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import buckets, models, validation
from hrnet_jax.compare import jax_runner, laboratory, problem, saved
from hrnet_jax.compare.problem import Setup
from hrnet_jax.run import manifest, replay


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison that is ready to run.

    Attributes:
      about: title, weights, batch and reference, for the report.
      precisions: some of `jax_runner.PRECISIONS`; none if there is no network to run.
      compare: returns the results in one of them; see `laboratory.compare`.
      notes: differences in settings and programs. They may explain those in results.
      differences: differences in results found without running a network.
    """

    about: dict[str, str]
    precisions: Sequence[str]
    compare: Callable[[str], dict[str, Any]]
    notes: Sequence[str] = ()
    differences: Sequence[str] = ()


def with_numbers(
    path: str, make: saved.MakeSetup, precisions: Sequence[str], steps: int | None, tolerance: float | None
) -> Comparison:
    """Compares our network with its numbers in a file of `saved.write_ours`.

    The default is the file's precision and number of steps. Raises FileNotFoundError or ValueError if the file
    does not fit (see `saved.read`), or is of another precision and no tolerance is given.
    """
    setup, reference, summary = saved.read(path, make, steps)
    precision, program = saved.origin(path, summary)
    if tolerance is None and (other := [name for name in precisions if name != precision]):
        raise ValueError(
            f"{path} was measured in {precision}, which differs from {other[0]} by rounding:"
            f" give --precision={precision}, or --tolerance"
        )

    def compare(precision: str) -> dict[str, Any]:
        return laboratory.compare(setup, reference, precision, len(reference.losses), tolerance=tolerance or 0.0)

    notes = manifest.compare(dict(program), saved.program(setup))
    return Comparison(about(setup, saved.title(path, summary)), precisions or [precision], compare, notes)


def with_checkpoint(
    path: str | buckets.Path, setup: Setup, precisions: Sequence[str], steps: int, tolerance: float
) -> Comparison:
    """Compares the weights of a setup with those of a checkpoint, and the results of the network with both.

    Raises FileNotFoundError or ValueError if the checkpoint does not fit the network; see `problem.load_weights`.
    """
    variables, source = problem.load_weights(setup.config, str(path))
    other = dataclasses.replace(setup, variables=variables)
    compare = functools.partial(_compare_weights, setup, other, steps, tolerance)
    return Comparison(about(setup, source), precisions, compare)


def _compare_weights(setup: Setup, other: Setup, steps: int, tolerance: float, precision: str) -> dict[str, Any]:
    """Compares the weights of two setups, and the results in a precision unless all weights are equal."""
    weights = laboratory.compare_variables(setup, other, tolerance)
    if weights["worst"] == 0:
        return {"precision": precision, "held": True, "sections": [weights], "steps": laboratory.NO_STEPS}
    reference = jax_runner.measure(other, precision, steps)
    run = laboratory.compare(setup, reference, precision, steps, tolerance=tolerance)
    return run | {"held": run["held"] and weights["held"], "sections": [weights, *run["sections"]]}


def with_run(
    there: buckets.Path,
    here: buckets.Path,
    make: saved.MakeSetup,
    precisions: Sequence[str],
    steps: int,
    tolerance: float,
    trusted: ConfigDict | None = None,
) -> Comparison:
    """Compares a run with another: settings, logs, states, and the newest checkpoint of the same step of both.

    `make` makes a setup of the run here, given its ``weights``. With a tolerance, the weights of the checkpoints
    are compared instead of fingerprints. `trusted` is as in `replay.read_config`. Raises OSError or ValueError if
    either is no run, or of another network.
    """
    other, config = (replay.read_config(run, trusted) for run in (there, here))
    _check_same_network(there, other, here, config)
    states, common = replay.compare_states(there, here), replay.newest_common_checkpoint(there, here)
    notes = _compare_settings(there, here) + replay.left_out(there)
    differences = replay.compare_logs(there, here, tolerance)
    (notes if common and tolerance else differences).extend(states)
    reference = f"{there}, with {replay.count(there, here)} in common"
    if not common:
        titles = {"title": laboratory.title(config), "weights": str(here), "reference": reference}
        return Comparison(titles, [], lambda _: {}, notes, differences)
    ready = with_checkpoint(common[0], make(weights=str(common[1])), precisions, steps, tolerance)
    titles = ready.about | {"reference": reference}
    return dataclasses.replace(ready, about=titles, notes=notes, differences=differences)


def _check_same_network(there: buckets.Path, other: ConfigDict, here: buckets.Path, config: ConfigDict) -> None:
    """Raises ValueError if the weights of two runs are not of the same network."""
    if different := validation.differences(models.describe(other), models.describe(config)):
        raise ValueError(
            f"the runs {there} and {here} are of different networks: {'; '.join(different.values())}:"
            " give two runs of the same network"
        )


def _compare_settings(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Describes the differences between the first starts of two runs, and those of every later start of each."""
    starts = {run: manifest.read(run) for run in (there, here)}
    if all(starts.values()):
        texts = manifest.compare(starts[there][0], starts[here][0])
    else:
        texts = manifest.compare(*({"config": replay.read_config(run).to_dict()} for run in (there, here)))
    for run, entries in starts.items():
        for before, after in itertools.pairwise(entries):
            changes = manifest.compare(before, after)
            texts += [f"{run} was resumed after step {after['step']:,}, and {text}" for text in changes]
    return texts


def about(setup: Setup, reference: str) -> dict[str, str]:
    """Returns the description of a comparison; see `Comparison`."""
    title = laboratory.title(setup.config)
    return {"title": title, "weights": setup.weights_title, "batch": setup.batch.title, "reference": reference}
