"""Doing a run again from what its directory tells, and saying whether the same came out, bit for bit."""

import json
from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import buckets, checkpoint_files, configuration, tasks, validation
from hrnet_jax.run import directory, logger, manifest

PASSING = ("time", "images_per_second", "data_wait")
"""What the log tells of time, which no two runs share."""

DIFFERENT = 3
"""Exit status if anything differs."""

_PROGRAM = (
    "code.sources",
    "versions.",
    "devices.",
    "processor",
    "config.model.",
    "config.fsdp",
    *(f"environment.{name}" for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_", "CUDNN_", "CUBLAS_")),
    *(f"environment.TF_{name}" for name in ("XLA", "CUDNN", "FORCE", "DETERMINISTIC")),
    *(f"environment.JAX_{name}" for name in ("DEFAULT_MATMUL_PRECISION", "ENABLE_X64", "NUMPY_", "USE_SHARDY")),
    *(f"environment.JAX_{name}" for name in ("DISABLE_", "OPTIMIZATION_", "EXEC_TIME_", "MEMORY_FITTING_")),
)
"""What of a manifest makes a start another program's, not just one on another machine."""


def read_config(workdir: buckets.Path) -> ConfigDict:
    """Returns the configuration of a run directory.

    Fields newer than the run have their defaults.

    Raises:
      ValueError: there is no configuration, or one with another network or with fields that this program lacks or
        knows to be of another kind.
    """
    path = workdir / directory.CONFIG
    try:
        validation.check_regular(path)
        content = _with_tuples(json.loads(path.read_text()))
        if missing := {"model", "data", "epochs"} - set(content):
            raise ValueError(f"it has no {sorted(missing)}")
        task = content.get("task", "top_down")
        if task not in tasks.TASKS:  # a file must not name code to import
            raise ValueError(f"the task {task!r:.100} is not one of {', '.join(tasks.TASKS)}")
        config = tasks.TASKS[task].defaults(content).lock()
        known = configuration.flatten(config.to_dict())
        for field, value in configuration.flatten(content).items():
            _check_kind(field, value, known.get(field, value))
        config.update(content)
        return config.unlock()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({validation.one_line(error)}): give the directory of a run of train.py"
        ) from error


def _check_kind(field: str, value: Any, known: Any) -> None:
    """Raises ValueError for what ml_collections takes for a value of any kind: null, and what a tuple holds."""
    if value is None and known != "":  # training takes null for no file to start from
        raise ValueError(f"`{field}` is null")
    if isinstance(value, tuple) and isinstance(known, tuple):
        kinds = (int, float) if field == "learning_rate_drops" else (int,)  # an epoch may be a fraction
        if not all(type(item) in kinds for item in value):
            raise ValueError(f"`{field}` is {validation.short_repr(value)}, not of the kind of {known}")


def _with_tuples(value: Any) -> Any:
    """Turns JSON's lists back into the tuples that configurations are written with."""
    if isinstance(value, dict):
        return {name: _with_tuples(field) for name, field in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def check(workdir: buckets.Path, steps: int) -> None:
    """Makes sure that a run can be compared with one of so many steps.

    Raises:
      OSError: its manifest is a pipe, a device or a folder.
      ValueError: it logged nothing, or kept no state of its last step; or its manifest is damaged.
    """
    settled(workdir)
    if not _figures(workdir) or steps not in _states(workdir):
        raise ValueError(
            f"{workdir} has no log, or no checkpoint of its last step, {steps:,} with these data, to compare with:"
            " let it come to its end first, give the data that it was trained on, or another run"
        )


def begun_by_several(starts: list[dict[str, Any]]) -> list[str]:
    """Returns in words what differs between the programs that a replay was started with; nothing if it was one."""
    changes = (text for start in starts[1:] for text in manifest.compare(starts[0], start))
    programs = (text for text in changes if text.startswith(_PROGRAM))
    return [f"the replay went on with another program: {text}" for text in dict.fromkeys(programs)]


def compare(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Returns in words what differs between two runs in what they logged and kept; nothing if all is the same."""
    return [*_compare_logs(there, here), *_compare_states(there, here)]


def count(there: buckets.Path, here: buckets.Path) -> str:
    """Says how much of two runs can be compared."""
    a, b = _comparable(there, here)
    states = ", ".join(f"{step:,}" for step in sorted(_states(there).keys() & _states(here).keys()))
    return f"{len(a.keys() & b.keys()):,} logged figures and the state after step {states or 'none'}"


def _compare_logs(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Compares the figures that both runs logged."""
    a, b = _comparable(there, here)
    both = sorted(a.keys() & b.keys())
    different = [key for key in both if a[key] != b[key] and not (a[key] != a[key] and b[key] != b[key])]
    found = []
    if alone := sorted(a.keys() - b.keys()):
        step, name = alone[0]
        found.append(f"{len(alone):,} figures were not logged again, first {name} of step {step:,}")
    if different:
        step, name = different[0]
        found.append(
            f"{len(different):,} of {len(both):,} logged figures, first at step {step:,}: {name} was"
            f" {a[step, name]!r} and is {b[step, name]!r}"
        )
    return found


def _compare_states(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Compares the states that both runs kept of the same step."""
    a, b = _states(there), _states(here)
    if not a.keys() & b.keys():
        return ["the runs kept no state of the same step: the one to repeat must have come to its end"]
    return [
        f"the state after step {step:,}: its fingerprint was {a[step]} and is {b[step]}"
        for step in sorted(a.keys() & b.keys())
        if a[step] != b[step]
    ]


def settled(workdir: buckets.Path) -> tuple[int, int]:
    """Returns the steps after which a run logged, and was evaluated, as it was at its end; 0 if it always was so.

    A replay has its last configuration all the way: before these steps it has means over other steps, and other
    evaluations.

    Raises:
      OSError, ValueError: the manifest cannot be read.
    """
    starts = manifest.read(workdir)
    logged, evaluated = _last_change(starts, ("log_every",), 1), _last_change(starts, ("eval_every", "eval."), 0)
    if logged:
        last = f"{workdir / manifest.FILE} (if it is damaged, delete it: the run can do without): the last start"
        logged += validation.require({"log_every": 0} | starts[-1]["config"], "log_every", int, last)
    return logged, evaluated


def _last_change(starts: list[dict[str, Any]], names: tuple[str, ...], steps: int) -> int:
    """Returns the last step before which a start had other fields (or groups of them) than the last start.

    Only those that made so many steps count: a start may end with the evaluation that another was killed in.
    """
    of = [
        {name: value for name, value in configuration.flatten(start["config"]).items() if name.startswith(names)}
        for start in starts
    ]
    ends = zip(starts, starts[1:], of, strict=False)
    return max((b["step"] for a, b, had in ends if had != of[-1] and b["step"] - a["step"] >= steps), default=0)


def left_out(workdir: buckets.Path) -> list[str]:
    """Returns in words what of a run is not compared with its replay, see `settled`."""
    logged, evaluated = settled(workdir)
    lines = f"it had another log_every before: its figures up to step {logged:,} are not compared"
    scores = f"it was evaluated otherwise before: evaluations up to step {evaluated:,} are not compared"
    return [lines] * (logged > 0) + [scores] * (evaluated > 0)


def _comparable(there: buckets.Path, here: buckets.Path) -> tuple[dict[tuple[int, str], float], ...]:
    """Returns the figures of two runs by step and name, but for those that are not comparable, see `settled`."""
    logged, evaluated = settled(there)

    def comparable(step: int, name: str) -> bool:
        return step > (evaluated if "/" in name else logged)  # evaluations: split/source/metric

    return tuple({key: x for key, x in _figures(run).items() if comparable(*key)} for run in (there, here))


def _figures(workdir: buckets.Path) -> dict[tuple[int, str], float]:
    lines = logger.read(workdir)
    return {(line["step"], name): line[name] for line in lines for name in line if name not in ("step", *PASSING)}


def _states(workdir: buckets.Path) -> dict[int, str]:
    folders = [workdir / "checkpoints" / name for name in ("best", "last")]
    return {step: mark for folder in folders for step, mark in checkpoint_files.fingerprints(folder).items()}
