"""Repeats a run from its directory and checks whether the result is the same, bit for bit."""

import json
from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import buckets, checkpoint_files, configuration, models, tasks, validation
from hrnet_jax.fields import Field
from hrnet_jax.run import directory, logger, manifest

TIMING = ("time", "images_per_second", "data_wait")
"""Entries of the log that differ between any two runs."""

DIFFERENT = 3
"""Exit status if anything differs."""

_PROGRAM = (
    *("code.sources", "versions.", "devices.", "processor", "config.model.", "config.fsdp"),
    *(f"environment.{name}" for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_", "CUDNN_", "CUBLAS_")),
    *(f"environment.TF_{name}" for name in ("XLA", "CUDNN", "FORCE", "DETERMINISTIC")),
    *(f"environment.JAX_{name}" for name in ("DEFAULT_MATMUL_PRECISION", "ENABLE_X64", "NUMPY_", "USE_SHARDY")),
    *(f"environment.JAX_{name}" for name in ("DISABLE_", "OPTIMIZATION_", "EXEC_TIME_", "MEMORY_FITTING_")),
)
"""Entries of a manifest that identify the program. The others may differ between machines."""


def read_config(workdir: buckets.Path, trusted: ConfigDict | None = None) -> ConfigDict:
    """Reads the configuration of a run directory. Fields newer than the run have their defaults.

    A file must not name code to import, unless the user's own configuration `trusted` names the same. It then also
    decides which fields there are.

    Raises ValueError if it is missing, or a network, a field or the type of a field is unknown.
    """
    path = workdir / directory.CONFIG
    allowed = configuration.flatten(trusted.to_dict()) if trusted else {}
    try:
        validation.check_regular(path)
        content = _with_tuples(json.loads(path.read_text()))
        if missing := {"model", "data", "epochs"} - set(content):
            raise ValueError(f"it has no {sorted(missing)}")
        task = content.setdefault("task", "top_down")
        if task not in tasks.TASKS and task != allowed.get("task"):
            raise ValueError(f"the task {task!r:.100} is not one of {', '.join(tasks.TASKS)}")
        name = content["model"].get("name")
        if name not in models.NETWORKS and name != allowed.get("model.name"):
            raise ValueError(f"the network {name!r:.100} is none of {', '.join(models.NETWORKS)}")
        known = tasks.find(task).fields(content)
        config = (trusted.copy_and_resolve_references() if trusted else configuration.build(known)).lock()
        for name, value in configuration.flatten(content).items():
            if name in known and (trusted is None or value != allowed.get(name)):
                _check_value(name, value, known[name])
        config.update(content)
        return config.unlock()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({validation.one_line(error)}): give the directory of a run of train.py"
        ) from error


def _check_value(name: str, value: Any, field: Field) -> None:
    """Raises ValueError for code to import, and for types that ml_collections accepts: null, items of tuples."""
    if field.code and ":" in str(value):
        raise ValueError(
            f"`{name}` (={value!r:.100}) is outside the package, and a file must not name code to run"
        )
    if value is None and name != "init_from":
        raise ValueError(f"`{name}` is null")
    is_tuple = isinstance(value, tuple) and isinstance(field.default, tuple)
    if is_tuple and not all(type(item) in field.items for item in value or ()):
        raise ValueError(f"`{name}` is {validation.short_repr(value)}, not of the type of {field.default}")


def _with_tuples(value: Any) -> Any:
    """Turns lists from JSON back into tuples as in configurations."""
    if isinstance(value, dict):
        return {name: _with_tuples(field) for name, field in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def check(workdir: buckets.Path, steps: int) -> None:
    """Checks that a run can be compared with its replay, which has this number of steps.

    Raises OSError if the manifest is a pipe, a device or a directory, and ValueError if it is damaged, or the run
    was extended, or has no log or no checkpoint of its last step.
    """
    comparable_after(workdir)
    if extended := [start for start in manifest.read(workdir) if start.get(manifest.EXTENDED)]:
        raise ValueError(
            f"{workdir} was extended after step {extended[0]['step']:,} and cannot be repeated in one go:"
            " give a run that was not"
        )
    if not _metrics(workdir) or steps not in _states(workdir):
        raise ValueError(
            f"{workdir} has no log, or no checkpoint of its last step, {steps:,} with these data, to compare with:"
            " finish the run first, give the data that it was trained on, or another run"
        )


def begun_by_several(starts: list[dict[str, Any]]) -> list[str]:
    """Describes how the program changed between the starts of a replay."""
    changes = (text for start in starts[1:] for text in manifest.compare(starts[0], start))
    programs = (text for text in changes if text.startswith(_PROGRAM))
    return [f"the replay was resumed with another program: {text}" for text in dict.fromkeys(programs)]


def compare(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Describes the differences between the logs of two runs, and between their states after the same steps."""
    return [*compare_logs(there, here), *compare_states(there, here)]


def compare_logs(there: buckets.Path, here: buckets.Path, tolerance: float = 0.0) -> list[str]:
    """Describes the differences between the logs of two runs: metrics missing here, and the first that differs.

    Metrics may deviate by `tolerance`, relative to those there.
    """
    texts = []
    a, b = _comparable(there, here)
    if missing := sorted(a.keys() - b.keys()):
        step, name = missing[0]
        texts.append(f"{len(missing):,} metrics were not logged again, first {name} of step {step:,}")
    a, b = _common(a, b)
    b |= {key: value for key, value in a.items() if _within(tolerance, value, b[key])}
    if different := list(validation.differences(a, b, "step {0[0]:,}: {0[1]} was {1!r} and is {2!r}").values()):
        texts.append(f"{len(different):,} of {len(a):,} logged metrics, first at {different[0]}")
    return texts


def compare_states(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Describes the differences between the states that two runs kept of the same steps."""
    a, b = _common(_states(there), _states(here))
    if not a:
        return ["the runs kept no state of the same step: let both finish, with the same `checkpoint_every`"]
    wording = "the state after step {:,}: its fingerprint was {} and is {}"
    return list(validation.differences(a, b, wording).values())


def newest_common_checkpoint(there: buckets.Path, here: buckets.Path) -> tuple[buckets.Path, buckets.Path] | None:
    """Returns the folders of the newest checkpoint of the same step of both runs, or None if there is none."""

    def by_step(workdir: buckets.Path) -> dict[int, buckets.Path]:
        folders = _folders(workdir)
        return {step: path / str(step) for path in folders for step in checkpoint_files.complete_steps(path)}

    a, b = _common(by_step(there), by_step(here))
    return (a[max(a)], b[max(b)]) if a else None


def count(there: buckets.Path, here: buckets.Path) -> str:
    """Describes the extent of a comparison: the metrics and states that both runs have."""
    metrics, states = _common(*_comparable(there, here))[0], _common(_states(there), _states(here))[0]
    steps = ", ".join(f"{step:,}" for step in sorted(states))
    return f"{len(metrics):,} logged metrics and the state after step {steps or 'none'}"


def _within(tolerance: float, a: Any, b: Any) -> bool:
    """Whether `b` deviates from `a` by no more than a tolerance. A damaged log may hold others than floats."""
    return isinstance(a, float) and isinstance(b, float) and abs(b - a) <= tolerance * abs(a)


def _common(a: dict[Any, Any], b: dict[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Restricts two mappings to their common keys."""
    keys = a.keys() & b.keys()
    return {key: a[key] for key in keys}, {key: b[key] for key in keys}


def comparable_after(workdir: buckets.Path) -> tuple[int, int]:
    """Returns the steps from which on a run logged and was evaluated with its final settings.

    A replay uses the final configuration throughout. Up to these steps its means and evaluations are not
    comparable. They are 0 if the settings never changed. Raises OSError or ValueError as `manifest.read` does.
    """
    starts = manifest.read(workdir)
    logged, evaluated = _last_change(starts, ("log_every",), 1), _last_change(starts, ("eval_every", "eval."), 0)
    if logged:
        last = f"{workdir / manifest.FILE} (if it is damaged, delete it; the run does not need it): the last start"
        logged += validation.require({"log_every": 0} | starts[-1]["config"], "log_every", int, last)
    return logged, evaluated


def _last_change(starts: list[dict[str, Any]], names: tuple[str, ...], steps: int) -> int:
    """Returns the step at which fields, or groups of them, last changed to their final values.

    Only starts of at least `steps` steps count. Some only repeat the evaluation that a kill interrupted.
    """
    settings = [
        {name: value for name, value in configuration.flatten(start["config"]).items() if name.startswith(names)}
        for start in starts
    ]
    pairs = zip(starts, starts[1:], settings, strict=False)
    changed = (b["step"] for a, b, fields in pairs if fields != settings[-1] and b["step"] - a["step"] >= steps)
    return max(changed, default=0)


def left_out(workdir: buckets.Path) -> list[str]:
    """Describes the parts of a run that are not compared with its replay; see `comparable_after`."""
    logged, evaluated = comparable_after(workdir)
    means = f"log_every changed during the run: metrics up to step {logged:,} are not compared"
    scores = f"evaluation settings changed during the run: evaluations up to step {evaluated:,} are not compared"
    return [means] * (logged > 0) + [scores] * (evaluated > 0)


def _comparable(there: buckets.Path, here: buckets.Path) -> tuple[dict[tuple[int, str], float], ...]:
    """Returns the comparable metrics of two runs by step and name; see `comparable_after`."""
    logged, evaluated = comparable_after(there)

    def is_comparable(step: int, name: str) -> bool:
        return step > (evaluated if "/" in name else logged)  # evaluations: split/source/metric

    return tuple({key: x for key, x in _metrics(run).items() if is_comparable(*key)} for run in (there, here))


def _metrics(workdir: buckets.Path) -> dict[tuple[int, str], float]:
    lines = logger.read(workdir)
    return {(line["step"], name): line[name] for line in lines for name in line if name not in ("step", *TIMING)}


def _states(workdir: buckets.Path) -> dict[int, str]:
    """Returns the fingerprints of all checkpoints by step."""
    folders = _folders(workdir)
    return {step: found for folder in folders for step, found in checkpoint_files.fingerprints(folder).items()}


def _folders(workdir: buckets.Path) -> list[buckets.Path]:
    """Returns the folders of checkpoints."""
    return [workdir / "checkpoints" / name for name in ("best", "last")]
