"""Time and error of optical flow without weights, and the share of joints that it carries to the next frame.

The photos are made up, or given. They are warped smoothly, for the error at all pixels. Made-up people move over
them on their own, for the share of joints that the flow carries to within half a head.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from hrnet_jax.benchmark import race
from hrnet_jax.datasets.made_up import labels, scenes
from hrnet_jax.predict import sources
from hrnet_jax.predict.photos import read_photo
from hrnet_jax.tracking import flow, similarity

SIZE = 360, 640  # height and width of the photos
WARPS = 2.2, 5.7, 15.7  # mean displacements in pixels
MOVES = 4, 12, 30, 60  # of people on their own, in pixels
PHOTOS, PEOPLE = 8, 14
DRAWS = 3  # of each warp and each move
HALF_HEAD = 0.05  # of a person's height: half a head size of PoseTrack
QUALITY, NOISE, GAIN = (
    80,
    2.0,
    0.05,
)  # of the second photo: JPEG, standard deviation in grey levels, change of light

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Grey photos [h, w] uint8 -> flow [h, w, 2]."""

_MEDIUM = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM

Pair = tuple[np.ndarray, np.ndarray]
"""Grey photos [h, w] uint8, the earlier and the next."""

Moved = tuple[Pair, np.ndarray, np.ndarray, float]
"""Photos between which a person moves, its joints [K, 2] in the earlier one, the move (x, y), and its height."""


def no_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns a flow of zeros."""
    return np.zeros((*first.shape, 2), np.float32)


def half_size(first: np.ndarray, second: np.ndarray, preset: int) -> np.ndarray:
    """Returns the flow by DIS, computed at half the size."""
    size = first.shape[1] // 2, first.shape[0] // 2
    before, after = (cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo in (first, second))
    return flow.enlarge(flow.grey_dis(before, after, preset), (first.shape[0], first.shape[1]))


def finest(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the flow by DIS, medium, computed down to single pixels."""
    method = cv2.DISOpticalFlow_create(_MEDIUM)  # pyright: ignore[reportAttributeAccessIssue]
    method.setFinestScale(0)
    return method.calc(first, second, None)


def farneback(first: np.ndarray, second: np.ndarray, levels: int, window: int, flags: int) -> np.ndarray:
    """Returns Farneback's flow."""
    return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, levels, window, 3, 5, 1.2, flags)  # pyright: ignore[reportCallIssue, reportArgumentType]


METHODS: Mapping[str, Method] = {
    "no flow": no_flow,
    "DIS ultrafast": functools.partial(flow.grey_dis, preset=cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST),
    "DIS fast": functools.partial(flow.grey_dis, preset=cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "DIS medium at half size": functools.partial(half_size, preset=_MEDIUM),
    "DIS medium": functools.partial(flow.grey_dis, preset=_MEDIUM),
    "DIS medium, finest scale 0": finest,
    "Farneback 3 levels, window 15": functools.partial(farneback, levels=3, window=15, flags=0),
    "Farneback 5 levels, window 31, Gaussian": functools.partial(
        farneback, levels=5, window=31, flags=cv2.OPTFLOW_FARNEBACK_GAUSSIAN
    ),
}
DEFAULT = "DIS medium"


def measure(folder: str, rounds: int) -> dict[str, Any]:
    """Measures all `METHODS` with the photos of a folder, or made-up ones if it is empty.

    Returns the ``race``, with one thread, and by method the ``error`` by mean displacement, in pixels, and the
    share of joints ``carried`` by move. Raises ValueError if the folder has no photos.
    """
    made = [scenes.compose(np.random.default_rng(seed)) for seed in range(2 * PEOPLE)]
    photos = [_fit(photo) for photo in _photos(folder, made)]
    people = [scene.people[-1] for scene in made][:PEOPLE]
    by_mean, by_move = warped_pairs(photos), moved_pairs(photos, people)
    with _one_thread():
        return {
            "race": _race([pair for pair, _ in by_mean[WARPS[1]][::DRAWS]], rounds),
            "error": _table(error, by_mean),
            "carried": _table(carried, by_move),
        }


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _table(measure_one: Callable, pairs: Mapping[float, Sequence]) -> dict[str, dict[float, float]]:
    """Returns a number by method and displacement."""
    return {
        name: {size: measure_one(method, of_size) for size, of_size in pairs.items()}
        for name, method in METHODS.items()
    }


def _photos(folder: str, made: Sequence[scenes.Scene]) -> list[np.ndarray]:
    """Returns photos [H, W, 3] uint8 BGR."""
    if not folder:
        return [scene.photo for scene in made[:PHOTOS]]
    paths = [path for path in sources.find([folder]).paths if not sources.is_video(path)][:PHOTOS]
    if not paths:
        raise ValueError(f"--photos (={folder}) has no photos: give a folder of them, or nothing for made-up ones")
    return [cv2.cvtColor(read_photo(path)[0], cv2.COLOR_RGB2BGR) for path in paths]


def _fit(photo: np.ndarray) -> np.ndarray:
    """Returns the middle of a photo at `SIZE`."""
    height, width = SIZE
    scale = max(height / photo.shape[0], width / photo.shape[1])
    large = cv2.resize(photo, (round(photo.shape[1] * scale), round(photo.shape[0] * scale)))
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def _race(pairs: Sequence[Pair], rounds: int) -> race.Race:
    def contender(method: Method) -> race.Contender:
        def turn() -> int:
            for pair in pairs:
                method(*pair)
            return len(pairs)

        return turn

    contenders = {name: contender(method) for name, method in METHODS.items() if name != "no flow"}
    title = f"optical flow, {SIZE[1]}x{SIZE[0]}, one thread"
    return race.run(title, "pairs", contenders, reference=DEFAULT, rounds=rounds)


def _grey(photo: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)


def _disturbed(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a photo as another frame of a video would show it: lighter or darker, with noise, compressed."""
    changed = photo * (1 + rng.uniform(-GAIN, GAIN)) + rng.normal(0, NOISE, photo.shape)
    encoded = cv2.imencode(".jpg", np.clip(changed, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[
        1
    ]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def warped(photo: np.ndarray, mean: float, rng: np.random.Generator) -> tuple[Pair, np.ndarray]:
    """Returns an earlier and a next photo in grey, and the true flow [H, W, 2]: smooth, of a mean in pixels."""
    height, width = photo.shape[:2]
    true = cv2.resize(
        rng.normal(size=(4, 6, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    true *= mean / np.hypot(true[..., 0], true[..., 1]).mean()
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    earlier = cv2.remap(photo, x + true[..., 0], y + true[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (_grey(earlier), _grey(_disturbed(photo, rng))), true


def warped_pairs(photos: Sequence[np.ndarray]) -> dict[float, list[tuple[Pair, np.ndarray]]]:
    """Returns grey pairs with their true flow by mean displacement: `DRAWS` of each photo."""
    pairs = {}
    for mean in WARPS:
        rng = np.random.default_rng(1)
        pairs[mean] = [warped(photo, mean, rng) for photo in photos for _ in range(DRAWS)]
    return pairs


def moved_pairs(photos: Sequence[np.ndarray], people: Sequence[scenes.Person]) -> dict[float, list[Moved]]:
    """Returns pairs between which a person moves, by distance in pixels: `DRAWS` of each person."""
    pairs = {}
    for distance in MOVES:
        rng, repeated = np.random.default_rng(2), itertools.cycle(photos)
        pairs[distance] = [moved(next(repeated), person, distance, rng) for person in people for _ in range(DRAWS)]
    return pairs


def error(method: Method, pairs: Sequence[tuple[Pair, np.ndarray]]) -> float:
    """Returns the mean end-point error in pixels."""
    off = [method(*pair) - true for pair, true in pairs]
    return float(np.mean([np.hypot(each[..., 0], each[..., 1]).mean() for each in off]))


def carried(method: Method, pairs: Sequence[Moved]) -> float:
    """Returns the share of joints that the flow carries to within half a head."""
    hits = []
    for pair, joints, move, height in pairs:
        reached = similarity.sample_flow(method(*pair), joints)
        hits.append(np.linalg.norm(reached - move, axis=-1) <= HALF_HEAD * height)
    return float(np.mean(hits))


def moved(photo: np.ndarray, person: scenes.Person, distance: float, rng: np.random.Generator) -> Moved:
    """Returns two photos between which a person moves by a distance in pixels, in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    move = np.round(distance * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    rows, columns = person.picture.alpha.shape
    left, top = person.picture.corner
    height, width = photo.shape[:2]
    origin = np.array([(width - columns) // 2 - left, (height - rows) // 2 - top])
    pair = [_pasted(photo, person, (int(place[0]), int(place[1]))) for place in (origin, origin + move)]
    offset = origin - person.origin
    joints = np.array([person.joint(name)[:2] for name in labels.SKELETON.joints]) + offset
    return (_grey(pair[0]), _grey(_disturbed(pair[1], rng))), joints, move, person.height


def _pasted(photo: np.ndarray, person: scenes.Person, origin: tuple[int, int]) -> np.ndarray:
    """Returns a photo [H, W, 3] uint8 with a person at a place."""
    pasted, owner = photo.copy(), np.zeros(photo.shape[:2], np.int8)
    foot = origin[1] - min(part.end[1] - max(part.radii) for part in person.body.parts)
    placed = dataclasses.replace(person, origin=origin)
    scenes.draw_person(np.random.default_rng(0), pasted, owner, placed, foot, 1)
    return pasted


def table(measured: Mapping[str, Any]) -> str:
    """Formats the result of `measure` for the terminal."""
    rates = measured["race"].rates
    columns = [f"{mean:>6}" for mean in WARPS] + [f"{move:>6}" for move in MOVES]
    lines = [
        measured["race"].title,
        f"  {'':<42}{'':>8}{'error of warps [px]':>20}{'joints carried of moves [px]':>30}",
        f"  {'':<42}{'ms':>8}  {''.join(columns[: len(WARPS)])}      {''.join(columns[len(WARPS) :])}",
    ]
    for name in METHODS:
        milliseconds = 1e3 / np.median(rates[name]) if name in rates else 0.0
        error = "".join(f"{measured['error'][name][mean]:6.2f}" for mean in WARPS)
        share = "".join(f"{100 * measured['carried'][name][move]:5.0f}%" for move in MOVES)
        lines.append(f"  {name:<42}{milliseconds:8.1f}  {error}      {share}")
    return "\n".join(lines)
