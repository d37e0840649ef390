"""Time to find the people of a photo in its maps, by their number, against the authors' Python.

The maps are made up. They have the size for a photo of COCO, and two components of tags, as by the flip test.
"""

import functools
import importlib.util
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from hrnet_jax.benchmark import race
from hrnet_jax.bottom_up import compiled_grouping, grouping, inference

PEOPLE = 1, 5, 20, 30, 42
SIZE = 512, 704  # height and width of the maps
COMPONENTS = 2  # of tags
SEEN, STRAY = 0.85, 0.05  # shares of joints: with a peak, and of these with tags of nobody
REACH = 8  # of peaks, in pixels: two standard deviations
SETTINGS = inference.Settings()
NUMPY = f"{race.OURS}, NumPy"
AUTHORS = "the authors' Python"
WORK = "candidates to people", "maps to people"

Races = Mapping[str, Mapping[int, race.Race]]
"""By what is done and the number of people."""


def measure(authors: str, rounds: int, counts: Sequence[int] = PEOPLE) -> Races:
    """Runs races for numbers of people.

    Args:
      authors: directory of the authors' code, or "" to do without.
      rounds: see `race.run`.
      counts: the numbers of people.

    Raises:
      ValueError: the directory lacks the code, or a module that it imports is missing.
      RuntimeError: the contenders group candidates to different people.
    """
    parser, races = load_authors(authors) if authors else None, {work: {} for work in WORK}
    for people in counts:
        for work, contenders in zip(WORK, _contenders(draw(people), parser), strict=True):
            title = f"{work}, {people} people"
            reference = AUTHORS if parser else next(iter(contenders))
            races[work][people] = race.run(title, "photos", contenders, reference=reference, rounds=rounds)
    return races


def draw(people: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Draws maps ``[K, 1 + T, H, W]`` of people whose joints are anywhere."""
    rng, joints = np.random.default_rng(people), SETTINGS.skeleton.num_joints
    maps = rng.normal(0, 0.3, (joints, 1 + COMPONENTS, *size)).astype(np.float32)
    maps[:, 0] = np.abs(maps[:, 0]) / 30
    for person, of_joint in itertools.product(range(people), maps):
        if rng.random() < SEEN:
            tag = rng.uniform(0, people) if rng.random() < STRAY else person
            _add_peak(of_joint, 1.3 * tag, rng)
    return maps


def _add_peak(maps: np.ndarray, tag: float, rng: np.random.Generator) -> None:
    """Adds a peak at a random place to the maps ``[1 + T, H, W]`` of a joint."""
    y, x = (rng.integers(side - 2 * REACH) for side in maps.shape[1:])
    place = maps[:, y : y + 2 * REACH + 1, x : x + 2 * REACH + 1]
    curve = np.exp(-np.square(np.linspace(-2, 2, 2 * REACH + 1)) / 2)
    place[0] = np.maximum(place[0], rng.uniform(0.2, 0.95) * np.outer(curve, curve))
    place[1:] = tag + rng.normal(0, 0.1, (COMPONENTS, 1, 1))


def _contenders(maps: np.ndarray, parser: Any) -> tuple[race.Contenders, race.Contenders]:
    """Returns who groups the candidates of a photo, and who finds its people. The parser is the authors'."""
    on_device = jnp.asarray(maps)[None]
    values, places, tags = (np.asarray(column) for column in inference.read_maps(on_device, SETTINGS).candidates)
    arguments = values[0], places[0], tags[0], grouping.joint_order(SETTINGS.skeleton)
    groupers: dict[str, Callable[[], np.ndarray]] = {
        race.OURS: lambda: compiled_grouping.group_on_host(*arguments),
        NUMPY: lambda: grouping.group(*arguments),
    }
    finders: dict[str, Callable[[], Any]] = {
        race.OURS: lambda: inference.find_on_host(inference.read_maps(on_device, SETTINGS), [""], SETTINGS)
    }
    if parser:
        import torch  # pyright: ignore[reportMissingImports]

        heatmaps, of_tags = torch.from_numpy(maps[None, :, 0]), torch.from_numpy(maps[None, :, 1:])
        of_tags = of_tags.movedim(2, -1).contiguous()
        groupers[AUTHORS] = lambda: parser.match(tags, places, values)[0]
        finders[AUTHORS] = lambda: parser.parse(heatmaps, of_tags)
    people = [group() for group in groupers.values()]
    if not all(np.array_equal(found, people[0]) for found in people):
        raise RuntimeError(f"contenders found {[len(found) for found in people]} people, or others")
    return _counting(groupers), _counting(finders)


def _counting(finders: Mapping[str, Callable[[], Any]]) -> race.Contenders:
    """Makes contenders that return their number of photos."""
    return {name: functools.partial(lambda find: len([find()]), find) for name, find in finders.items()}


def load_authors(directory: str) -> Any:
    """Returns the parser of HigherHRNet's authors with the settings of their results.

    Raises ValueError if the directory is no checkout of their code, or if a module that it imports is missing.
    """
    path = pathlib.Path(directory) / "lib" / "core" / "group.py"
    if not path.is_file():
        raise ValueError(
            f"--authors (={directory}) has no lib/core/group.py: give a checkout of"
            " https://github.com/HRNet/HigherHRNet-Human-Pose-Estimation"
        )
    spec: Any = importlib.util.spec_from_file_location("group", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise ValueError(f"{path}: {error}: pip install torch munkres==1.1.4") from error
    settings = SETTINGS.grouping
    test = {"DETECTION_THRESHOLD": settings.joint_threshold, "TAG_THRESHOLD": settings.tag_threshold}
    test |= {"USE_DETECTION_VAL": True, "IGNORE_TOO_MUCH": False, "NMS_KERNEL": SETTINGS.window}
    data = {"NUM_JOINTS": SETTINGS.skeleton.num_joints, "MAX_NUM_PEOPLE": settings.most_people}
    return module.HeatmapParser(
        SimpleNamespace(
            DATASET=SimpleNamespace(**data, WITH_CENTER=False),
            MODEL=SimpleNamespace(TAG_PER_JOINT=True),
            TEST=SimpleNamespace(**test, NMS_PADDING=SETTINGS.window // 2),
        )
    )


def table(races: Races) -> str:
    """Formats races for the terminal: median milliseconds of a photo, and ours against the reference."""
    lines = []
    for work, of_work in races.items():
        names = list(next(iter(of_work.values())).rates)
        lines.append(
            f"{f'{work}, milliseconds':<36}" + "".join(f"{name:>22}" for name in names) + f"{'ratio':>10}"
        )
        for people, result in of_work.items():
            times = "".join(f"{milliseconds:22.2f}" for milliseconds in _milliseconds(result).values())
            lines.append(f"  {f'{people} people':<34}{times}{result.ratios[race.OURS]:10.1f}")
    return "\n".join(lines)


def curves(races: Races) -> dict[str, list[tuple[float, float]]]:
    """Returns points of number of people and milliseconds, by work and contender."""
    found: dict[str, list[tuple[float, float]]] = {}
    for work, of_work in races.items():
        for people, result in of_work.items():
            for name, milliseconds in _milliseconds(result).items():
                found.setdefault(f"{work}, {name}", []).append((people, milliseconds))
    return found


def _milliseconds(result: race.Race) -> dict[str, float]:
    return {name: 1e3 / float(np.median(rates)) for name, rates in result.rates.items()}
