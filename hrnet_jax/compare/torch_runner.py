"""Measuring PyTorch's twin of a network, as `ours` does ours."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from hrnet_jax import losses
from hrnet_jax.compare import jax_runner
from hrnet_jax.compare.measured import HEATMAPS, Arrays, Measured
from hrnet_jax.compare.problem import Problem
from hrnet_jax.torch_interop import loading, torch_models

_WITH_PARAMETERS = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.BatchNorm2d)


def measure(problem: Problem, precision: str, steps: int) -> Measured:
    """Measures the twin.

    Args:
      problem: network, weights and batch.
      precision: "float64", "float32", or "bfloat16": automatic mixed precision over float32.
      steps: how many steps of Adam to take on the batch.
    """
    trained = _train(problem, precision, steps)  # first: it needs most memory, and leaves the least
    evaluation, training = (_outputs(problem, precision, train) for train in (False, True))
    return Measured(evaluation, training, *trained, inputs=functools.partial(_inputs, problem))


def network(problem: Problem, precision: str) -> torch.nn.Module:
    """Returns the twin with the problem's weights."""
    net = torch_models.build(problem.config).to(_dtype(precision))
    content = {name: _tensor(array, precision) for name, array in loading.to_pytorch(problem.variables).items()}
    net.load_state_dict(net.state_dict() | content)
    return net


def _in_mode(problem: Problem, net: torch.nn.Module, train: bool) -> torch.nn.Module:
    """Sets evaluation or training mode, in which frozen batch normalisation stays as in evaluation."""
    net.train(train)
    if problem.config.model.norm_frozen:
        for module in net.modules():
            module.train(train and not isinstance(module, torch.nn.BatchNorm2d))
    return net


def _dtype(precision: str) -> torch.dtype:
    return torch.float64 if precision == "float64" else torch.float32


def _tensor(array: np.ndarray, precision: str) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C")).to(_dtype(precision))


def _mixed(precision: str) -> contextlib.AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()


def _outputs(problem: Problem, precision: str, train: bool) -> Arrays:
    """Returns what every module puts out that our network has, too."""
    found, wanted = {}, jax_runner.kinds(problem)

    def note(name: str, _: torch.nn.Module, args: tuple, result: Any) -> None:
        del args
        name = name or HEATMAPS
        if name in wanted and isinstance(result, list | tuple):
            found.update({f"{name}[{i}]": _array(branch) for i, branch in enumerate(result)})
        elif name in wanted:
            found[name] = _array(result)

    _run(problem, precision, train, note)
    return found


def _inputs(problem: Problem) -> Mapping[str, Arrays]:
    """Returns what every module with parameters is given in float64, by mode."""
    found: dict[str, dict[str, np.ndarray]] = {"evaluation": {}, "training": {}}
    for mode, given in found.items():

        def note(name: str, module: torch.nn.Module, args: tuple, _: Any, given=given) -> None:
            if isinstance(module, _WITH_PARAMETERS):
                given[name] = _array(args[0])

        _run(problem, "float64", mode == "training", note)
    return found


def _run(problem: Problem, precision: str, train: bool, note: Callable[..., None]) -> None:
    """Runs the twin forward and notes every module's name, itself, arguments and result."""
    net = _in_mode(problem, network(problem, precision), train)
    for name, module in net.named_modules():
        module.register_forward_hook(functools.partial(note, name))
    with torch.no_grad(), _mixed(precision):
        net(_image(problem, precision))


def _image(problem: Problem, precision: str) -> torch.Tensor:
    return _tensor(problem.batch.image.transpose(0, 3, 1, 2), precision)


def _loss(problem: Problem, heatmaps: torch.Tensor) -> torch.Tensor:
    """The configuration's loss (see `losses`) of heatmaps ``[B, K, h, w]``."""
    targets = torch.from_numpy(problem.batch.targets.transpose(0, 3, 1, 2).copy()).to(heatmaps.dtype)
    weights = torch.from_numpy(problem.batch.weights).to(heatmaps.dtype)[:, :, None, None]
    errors = 0.5 * ((heatmaps - targets) * weights).square().mean((2, 3))
    if problem.config.loss == "ohkm":
        errors = errors.topk(min(losses.HARDEST_JOINTS, errors.shape[1]), dim=1).values
    return errors.mean()


def _train(problem: Problem, precision: str, steps: int) -> tuple[Arrays, list[float], list[Arrays]]:
    """Returns the gradients of the first step, the losses before, and the states after each step."""
    net = _in_mode(problem, network(problem, precision), train=True)
    adam = torch.optim.Adam(net.parameters(), lr=problem.config.learning_rate)
    image, first, values, states = _image(problem, precision), {}, [], []
    for _ in range(steps):
        with _mixed(precision):
            heatmaps = net(image)
        loss = _loss(problem, heatmaps.to(_dtype(precision)))
        adam.zero_grad()
        loss.backward()
        first = first or {name: _array(p.grad) for name, p in net.named_parameters() if p.grad is not None}
        adam.step()
        values.append(loss.item())
        states.append({name: _array(t) for name, t in net.state_dict().items() if t.is_floating_point()})
    return first, values, states
