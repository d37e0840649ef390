"""Speed of a training step and of a prediction, against PyTorch and the limits of the same device.

Our training step also normalises the pixels and draws the targets. PyTorch's gets normalised images and finished
targets. Bottom-up networks predict as `whole_photos` says.

The limits are measured rates of matrix products and of memory traffic. At these rates a program's operations and
its bytes each take a time. The longer one bounds the program from below (roofline model; Williams, Waterman and
Patterson, 2009). Matrices are multiplied in JAX's default precision, as in the network. For float32 that is a
lower one on recent GPUs and TPUs.
"""

import contextlib
import dataclasses
import importlib.util
import re
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import models, skeletons
from hrnet_jax.benchmark import plain, race, whole_photos, workload
from hrnet_jax.models import layers
from hrnet_jax.tasks import top_down

EAGER, CHANNELS_LAST = "PyTorch, eager", "PyTorch, channels last"
COMPILED = "PyTorch, channels last, compiled"
LOOPS = "PyTorch, channels last, the original's decoding"
# Names of contenders by the mode of ``torch.compile``.
MODES = {
    "default": COMPILED,
    "reduce-overhead": f"{COMPILED}, as a CUDA graph",
    "max-autotune": f"{COMPILED}, autotuned",
}
PRODUCTS = 8  # consecutive products per timed call, so that the launch time is negligible
SIDE = {"cpu": 2048}  # of the matrices, by platform
BYTES = {"cpu": 2**28}  # of the copied array, by platform; far larger than any cache


@contextlib.contextmanager
def pytorch_contenders(config: ConfigDict, *, train: bool, modes: Sequence[str]) -> Iterator[race.Contenders]:
    """Yields the PyTorch contenders by name, on a GPU if torch finds one. They train if `train`, else predict.

    They use mixed precision if the configuration has bfloat16. All but `LOOPS` predict heatmaps of image and
    mirror image only. `LOOPS` also flips them back, averages and decodes on the host, like the original; bottom-up
    networks have none. There is one contender for each of the `modes`, some of `MODES`. Compiling them takes
    minutes.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.backends.cudnn.benchmark = True
    variants = {EAGER: (torch.contiguous_format, None), CHANNELS_LAST: (torch.channels_last, None)}
    variants |= {MODES[mode]: (torch.channels_last, mode) for mode in modes}
    try:
        contenders = {name: _contender(config, train, layout, mode) for name, (layout, mode) in variants.items()}
        loops = not train and not workload.is_bottom_up(config)
        yield contenders | {LOOPS: _original_prediction(config)} if loops else contenders
    finally:
        torch._dynamo.reset()


def _place(config: ConfigDict, layout: Any) -> tuple[Any, Any, Any]:
    """Returns the network, a normalised image and the autocast context, on PyTorch's device."""
    import torch  # pyright: ignore[reportMissingImports]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = models.build_torch(config).to(device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    pixels = jnp.asarray(workload.made_up_batch(config, config.batch_size)["image"])
    image = torch.from_numpy(np.moveaxis(np.asarray(layers.normalize(pixels)), 3, 1).copy()).to(device)
    autocast = torch.autocast(device, torch.bfloat16, enabled=config.model.dtype == "bfloat16")
    return net, image.to(memory_format=layout), autocast


def _heatmap_loss(config: ConfigDict, device: Any) -> Callable[[Sequence[Any]], Any]:
    """Returns PyTorch's loss of the heatmaps ``[B, K, h, w]`` that training compares, for the made-up batch."""
    import torch  # pyright: ignore[reportMissingImports]

    batch = {name: jnp.asarray(x) for name, x in workload.made_up_batch(config, config.batch_size).items()}
    labels = (batch[name] for name in models.find(config.model.name).labels)
    targets, weights = top_down.make_target_fn(config)(*labels)
    targets = jax.tree.map(lambda x: np.moveaxis(np.asarray(x), 3, 1), targets)
    targets, weights = jax.tree.map(lambda x: torch.from_numpy(np.array(x)).to(device), (targets, weights))

    def loss(predictions: Sequence[Any]) -> Any:
        count = len(predictions)
        labels = zip(layers.for_each(targets, count), layers.for_each(weights, count), strict=True)
        pairs = zip(predictions, labels, strict=True)
        errors = [(heatmaps.float() - target) * weight[:, :, None, None] for heatmaps, (target, weight) in pairs]
        return 0.5 * torch.stack([error.square().mean() for error in errors]).sum()

    return loss


def _contender(config: ConfigDict, train: bool, layout: Any, mode: str | None) -> race.Contender:
    import torch  # pyright: ignore[reportMissingImports]

    from hrnet_jax.models import torch_models

    net, image, autocast = _place(config, layout)
    net.train(train)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, fused=True)
    forward: Any = torch_models.predictions(net) if train else net
    forward = torch.compile(forward, mode=mode) if mode else forward
    mark_step = torch.compiler.cudagraph_mark_step_begin if image.is_cuda else lambda: None
    bottom_up = workload.is_bottom_up(config)
    find_loss = (whole_photos.torch_loss if bottom_up else _heatmap_loss)(config, image.device)
    read = whole_photos.torch_candidates(config) if bottom_up else lambda heatmaps: heatmaps

    def train_step() -> int:
        mark_step()
        with autocast:
            predictions = forward(image)
        loss = find_loss(predictions)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device
        return config.batch_size

    def predict() -> int:
        mark_step()
        with torch.inference_mode(), autocast:
            predictions = forward(torch.cat([image, image.flip(3)]))
        with torch.inference_mode():
            read(predictions).sum().item()
        return config.batch_size

    return train_step if train else predict


def _original_prediction(config: ConfigDict) -> race.Contender:
    """Returns the original's way of predicting: two forward passes, then a loop over joints on the host."""
    import torch  # pyright: ignore[reportMissingImports]

    net, image, autocast = _place(config, torch.channels_last)
    net.eval()
    flip_order = skeletons.load(config.skeleton).flip_order
    heatmap_to_photo = workload.made_up_batch(config, config.batch_size)["crop"] * layers.STRIDE

    def forward(image: Any) -> np.ndarray:
        with torch.inference_mode(), autocast:
            return net(image).float().cpu().numpy()

    def predict() -> int:
        mirrored = forward(image.flip(3))[:, flip_order, :, ::-1].copy()
        mirrored[..., 1:] = mirrored[..., :-1].copy()
        plain.decode((forward(image) + mirrored) / 2, heatmap_to_photo)
        return config.batch_size

    return predict


def measure(
    config: ConfigDict,
    rounds: int,
    ours: race.Contender | None,
    *,
    train: bool,
    pytorch: bool,
    modes: Sequence[str] = (),
) -> race.Race:
    """Runs a race of ours against PyTorch. The reference is PyTorch's fastest, or ours without PyTorch.

    Contenders that run out of device memory are left out. Ours, if any, is from `workload.train` or, unless
    `train`, from `workload.predict`. PyTorch takes part if wanted and installed, compiled in each of the `modes`
    of `MODES`. Raises ValueError if there is no contender.
    """
    context = contextlib.nullcontext({})
    if pytorch and importlib.util.find_spec("torch"):
        context = pytorch_contenders(config, train=train, modes=modes)
    elif not ours:
        raise ValueError("PyTorch, the only chosen side, is not installed: pip install torch")
    with context as others:
        contenders = {race.OURS: ours, **others} if ours else others
        contenders = {name: contender for name, contender in contenders.items() if _fits(name, contender)}
        if not contenders:
            size = config.batch_size
            raise ValueError(f"nothing fits into the device's memory at batch {size}: take a smaller --batch")
        title = f"{workload.title(config)}, {'training step' if train else 'prediction with flip test'}"
        result = race.run(
            title, workload.unit(config), contenders, reference=next(iter(contenders)), rounds=rounds
        )
    return dataclasses.replace(result, reference=race.fastest_reference(result.rates))


def _fits(name: str, contender: race.Contender) -> bool:
    """Runs a contender once, including its compilation, and reports whether the device's memory sufficed."""
    try:
        contender()
    except RuntimeError as error:  # PyTorch and JAX mark these by their text only
        if not re.search(r"out of memory|RESOURCE_EXHAUSTED", str(error), re.IGNORECASE):
            raise
        print(f"  {name}: left out, it needs more memory than the device has", flush=True)
        return False
    return True


def peak_rates(dtype: str, rounds: int = 7) -> dict[str, float]:
    """Measures the ``operations`` (multiply-add: 2) and ``bytes`` per second of a device, the best of `rounds`."""
    platform = jax.default_backend()
    side, size = SIDE.get(platform, 8192), BYTES.get(platform, 2**31)
    random = np.random.default_rng(0)  # constant matrices draw less power and run faster
    first, second = (jnp.asarray(random.standard_normal((side, side)) / side**0.5, dtype) for _ in range(2))
    array = jnp.asarray(np.resize(random.standard_normal(2**20).astype(np.float32), size // 4))

    @jax.jit
    def products(first: jax.Array, second: jax.Array) -> jax.Array:
        for _ in range(PRODUCTS):
            first = first @ second
        return first

    product = _shortest(products, first, second, rounds=rounds) / PRODUCTS
    copy = _shortest(jax.jit(jnp.negative), array, rounds=rounds)
    return {"operations": 2 * side**3 / product, "bytes": 2 * size / copy}


def limits(cost: Mapping[str, float], rates: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Returns the seconds of a cost at some rates, and the ``share`` of `seconds` that the longer one explains."""
    bounds = {name: cost[name] / rates[name] for name in ("operations", "bytes")}
    return bounds | {"share": float(np.max([*bounds.values()])) / seconds}


def limits_summary(cost: Mapping[str, float], rates: Mapping[str, float], bounds: Mapping[str, float]) -> str:
    """Formats cost, rates and `limits` for the terminal."""
    lines = [
        f"  {cost[name] / 1e9:,.1f} G {name} counted at {rates[name] / 1e9:,.0f} G/s"
        f" would take {bounds[name]:.3g} s"
        for name in ("operations", "bytes")
    ]
    memory = f"memory needed {cost['memory'] / 1e9:.2f} GB"
    return "\n".join(lines) + f": {bounds['share']:.0%} of the step's time; {memory}"


def _shortest(function: Callable, *arguments: jax.Array, rounds: int) -> float:
    jax.block_until_ready(function(*arguments))  # compiles
    return min(timeit.repeat(lambda: jax.block_until_ready(function(*arguments)), number=1, repeat=rounds))
