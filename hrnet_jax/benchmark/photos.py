"""Speed from photos or videos on disk to poses in JSON, against loops over ONNX Runtime and PyTorch.

All contenders use the same detector, the same crops and no flip test.
"""

import dataclasses
import importlib.util
import itertools
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import cv2
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import geometry, models, skeletons, training
from hrnet_jax.benchmark import plain, race, workload
from hrnet_jax.export import runtimes, trained, write
from hrnet_jax.export.description import Settings
from hrnet_jax.models import layers
from hrnet_jax.predict import boxes, opening, sources, video
from hrnet_jax.predict.items import Item
from hrnet_jax.predict.predictor import Predictor
from hrnet_jax.torch_interop import loading, state_dict

OURS_ONNX = f"{race.OURS}, ONNX Runtime"
ONE_BY_ONE = "ONNX Runtime, a person at a time"
TORCH = "PyTorch, channels last, batches"

Forward = Callable[[np.ndarray], np.ndarray]
"""Images [N, H, W, 3] uint8 -> heatmaps [N, K, h, w]."""


def measure(config: ConfigDict, folder: str, find: str, size: int, rounds: int) -> race.Race:
    """Runs a race with a configuration's network, random weights, and the photos of a folder or frames of videos.

    Args:
      config: its network, joints and image size count.
      folder: the photos, or a video. If there are videos, frames are counted instead of people.
      find: the people, see `boxes.open_finder`.
      size: of a batch.
      rounds: see `race.run`.

    Raises:
      ValueError: there is no photo, no person in them, or the network needs no boxes to find people.
    """
    if workload.is_bottom_up(config):
        raise ValueError(f"`model.name` (={config.model.name!r}) finds people without boxes: measure predict")
    paths = sources.find([folder]).paths
    is_video = any(map(sources.is_video, paths))
    with tempfile.TemporaryDirectory() as directory:
        contenders = _contenders(config, paths, find, size, pathlib.Path(directory))
        if not (people := contenders[race.OURS]()):
            raise ValueError(f"--photos (={folder}): no person was found: give other photos or --boxes")
        count, what = sum(1 for _ in _items(paths)), "frames" if is_video else "photos"
        if is_video:
            contenders = {title: _counting(count, contender) for title, contender in contenders.items()}
        (height, width), name = config.image_size, models.title(config.model)
        title = f"{count:,} {what} with {people:,} people to JSON, {name} {height}x{width}, batch {size}"
        unit = "frames" if is_video else "people"
        result = race.run(title, unit, contenders, reference=race.OURS, rounds=rounds)
    return dataclasses.replace(result, reference=race.fastest_reference(result.rates))


def _contenders(
    config: ConfigDict, paths: Sequence[str], find: str, size: int, directory: pathlib.Path
) -> race.Contenders:
    """Writes the network into a directory and returns those who predict with it."""
    weights, skeleton = directory / "network.safetensors", skeletons.load(config.skeleton)
    settings = Settings(skeleton, tuple(config.image_size), flip_test=False)
    variables = training.init_variables(models.build(config), settings.image_size, 0)
    state_dict.write(weights, loading.to_pytorch(variables), models.describe(config) | settings.to_json())
    finder, _ = boxes.open_finder(find, skeleton)
    contenders = {race.OURS: _ours(opening.load(weights, find, batch_size=size), paths)}
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
        program = directory / "network.onnx"
        write.write(trained.load(weights), program)
        contenders[OURS_ONNX] = _ours(opening.load(program, find, batch_size=size), paths)
        contenders[ONE_BY_ONE] = _loop(paths, finder, settings, _onnx_forward(program), size=1)
    if importlib.util.find_spec("torch"):
        contenders[TORCH] = _loop(paths, finder, settings, _torch_forward(config), size=size)
    return contenders


def _items(paths: Sequence[str]) -> Iterator[Item]:
    """Yields the photos, still to be read, and the frames of the videos."""
    for path in paths:
        if sources.is_video(path):
            yield from (Item(path, photo, frame, time) for frame, time, photo in video.read_frames(path))
        else:
            yield Item(path)


def _counting(units: int, contender: race.Contender) -> race.Contender:
    """Returns the contender with another count of its work."""

    def turn() -> int:
        contender()
        return units

    return turn


def _ours(predictor: Predictor, paths: Sequence[str]) -> race.Contender:
    def turn() -> int:
        return sum(len(poses) for poses in predictor.stream(_items(paths)) if json.dumps(poses.to_json()))

    return turn


def _loop(
    paths: Sequence[str], finder: boxes.Finder, settings: Settings, forward: Forward, *, size: int
) -> race.Contender:
    """Returns a contender that reads photos one after the other, and predicts `size` people at a time."""

    def turn() -> int:
        people = []
        for group in _groups(_crops(paths, finder, settings.image_size), size):
            images, maps = (np.stack(column) for column in zip(*group, strict=True))
            heatmap_to_photo = np.stack([cv2.invertAffineTransform(each) for each in maps])
            heatmap_to_photo[:, :, :2] *= layers.STRIDE
            people += zip(*plain.decode(forward(images), heatmap_to_photo), strict=True)
        json.dumps([np.column_stack(person).tolist() for person in people])
        return len(people)

    return turn


def _crops(
    paths: Sequence[str], finder: boxes.Finder, image_size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for item in _items(paths):
        photo = _read(item.source) if item.photo is None else item.photo
        for box in finder(item.source, photo)[0]:
            yield geometry.crop(photo, box, image_size)


def _read(path: str) -> np.ndarray:
    if (photo := cv2.imread(path)) is None:
        raise ValueError(f"{path} is no photo that OpenCV reads: leave it out")
    return np.ascontiguousarray(photo[..., ::-1])


def _groups(items: Iterator, size: int) -> Iterator[list]:
    """Yields lists of `size` items; the last may be shorter."""
    while group := list(itertools.islice(items, size)):
        yield group


def _onnx_forward(program: pathlib.Path) -> Forward:
    call = runtimes.open_program(program).call
    return lambda images: np.asarray(call(images)).transpose(0, 3, 1, 2)


def _torch_forward(config: ConfigDict) -> Forward:
    import torch  # pyright: ignore[reportMissingImports]

    net = models.build_torch(config).eval().to(memory_format=torch.channels_last)

    def forward(images: np.ndarray) -> np.ndarray:
        normalized = torch.from_numpy(np.array(layers.normalize(jnp.asarray(images), config.model.colors)))
        with torch.inference_mode():
            return net(normalized.permute(0, 3, 1, 2)).numpy()

    return forward
