"""Selection of one network's tensors among everything that a PyTorch file holds.

Training programs save a state dict under a key of their own, and wrap the network, so that all names begin with
``model.`` (Lightning), ``net.``, ``student.`` or ``1.`` (HigherHRNet in half precision). Beside it, many keep a
moving average of the weights.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

USUAL_KEYS = ("state_dict", "")
"""Keys that take precedence over others: of the authors and mmpose, and none."""

_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)*")
_MMPOSE = re.compile(r"^(backbone|keypoint_head|head)\.")
_FIRST = re.compile(
    r"((?:module\.|_orig_mod\.)*(?:1\.)?(?:(?!layer\d|stage\d|transition\d|\d+\.)[^.]+\.)*?)"
    r"(?:(?:backbone\.)?conv1|pre\.0\.conv)\.weight"
)
_RESNET, _OF_CPN = "resnet.", "global_net.laterals.0.0.weight"
_AVERAGE = re.compile(r"(^|[._])(ema|average|averaged|avg|shadow|swa|teacher)([._]|$)")
_DEPTH = 2  # of nested dictionaries

# mmpose swaps them in its checkpoints. The last step's are in `ema_state_dict` or `_flat_copies`.
_IN_PLACE = "these are the moving average that mmpose saves in place of the last step's weights"


@dataclasses.dataclass(frozen=True)
class Selected:
    """The tensors of one network with the release's names, and notes on what was taken off or left out."""

    tensors: dict[str, Any]
    notes: tuple[str, ...] = ()
    is_average: bool = False
    is_mmpose: bool = False


def release_name(name: str) -> str:
    """Returns the name of a tensor in the authors' release."""
    return _MMPOSE.sub("", _WRAPPERS.sub("", name))


def select(content: Any, is_tensor: Callable[[Any], bool], averaged: bool = False) -> Selected:
    """Selects a network in the content of a file, or the moving average of its weights if `averaged`.

    Returns no tensors if there are none. Raises ValueError if there are several networks, or no average.
    """
    found = dict(_state_dicts(content, is_tensor))
    if not found:
        return Selected({})
    in_place = "message_hub" in content and found.pop("ema_state_dict", None) is not None
    networks = [key for key, tensors in found.items() if _prefixes(tensors)]
    key, other_keys = _choose(networks or list(found), averaged, USUAL_KEYS)
    tensors = {name: value for name, value in found[key].items() if name not in _flat_copies(found[key])}
    in_place |= len(tensors) < len(found[key])
    prefix, other_prefixes = _choose(_prefixes(tensors) or [""], averaged)
    is_average = bool(in_place or _AVERAGE.search(key) or _AVERAGE.search(prefix))
    if averaged and not is_average:
        raise ValueError("it has no moving average of the weights: leave out --averaged")
    notes = [f"read from {key!r}"] * (key not in USUAL_KEYS) + [_IN_PLACE] * in_place
    notes += [f"the prefix {prefix!r} is taken off"] * bool(_WRAPPERS.sub("", prefix))
    notes += _left_out([*other_keys, *other_prefixes], averaged)
    deeper = tuple(other for other in other_prefixes if other.startswith(prefix))
    inside = [name for name in tensors if name.startswith(prefix) and not name.startswith(deeper)]
    if outside := [name for name in tensors if not name.startswith((prefix, *other_prefixes))]:
        notes.append(f"{len(outside)} tensors outside {prefix!r} are not used ({', '.join(outside[:3])})")
    return _renamed({name.removeprefix(prefix): tensors[name] for name in inside}, notes, is_average)


def _renamed(tensors: Mapping[str, Any], notes: Sequence[str], is_average: bool) -> Selected:
    """Gives tensors the release's names. Raises ValueError if two get the same."""
    renamed = {release_name(name): value for name, value in tensors.items()}
    if len(renamed) < len(tensors):
        raise ValueError(f"it holds several networks ({len(tensors)} tensors of {len(renamed)} names)")
    is_mmpose = any(_MMPOSE.match(_WRAPPERS.sub("", name)) for name in tensors)
    return Selected(renamed, tuple(notes), is_average, is_mmpose)


def _state_dicts(
    content: Any, is_tensor: Callable[[Any], bool], key: str = "", depth: int = _DEPTH
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the dictionaries that hold tensors by their keys, joined with dots."""
    named = {n: value for n, value in content.items() if isinstance(n, str)} if isinstance(content, dict) else {}
    if tensors := {name: value for name, value in named.items() if is_tensor(value)}:
        yield key, tensors
    for name, value in named.items() if depth else ():
        yield from _state_dicts(value, is_tensor, f"{key}.{name}" if key else name, depth - 1)


def _prefixes(names: Mapping[str, Any]) -> list[str]:
    """Returns the prefixes of the networks among the names of tensors, by their first convolutions."""
    found = (match[1] for name in names if (match := _FIRST.fullmatch(name)))
    return list(dict.fromkeys(_without_resnet(prefix, names) for prefix in found))


def _without_resnet(prefix: str, names: Mapping[str, Any]) -> str:
    """Takes off the end of a prefix if it is the name of a network's part, as in CPN."""
    outer = prefix.removesuffix(_RESNET)
    return outer if f"{outer}{_OF_CPN}" in names else prefix


def _choose(candidates: list[str], averaged: bool, usual: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Returns a key or prefix, and those of other networks. Raises ValueError if several fit and none is usual."""
    averages = [name for name in candidates if _AVERAGE.search(name)]
    plain = [name for name in candidates if name not in averages]
    fitting = (averages if averaged else plain) or candidates
    fitting = [name for name in usual if name in fitting][:1] or fitting
    if len(fitting) > 1:
        raise ValueError(f"it holds several networks ({', '.join(map(repr, fitting))})")
    return fitting[0], [name for name in candidates if name != fitting[0]]


def _flat_copies(names: Mapping[str, Any]) -> set[str]:
    """Returns the names such as ``ema_conv1_weight``, under which mmpose 0.x keeps a second copy of weights."""
    return {f"ema_{name.replace('.', '_')}" for name in names} & names.keys()


def _left_out(others: Sequence[str], averaged: bool) -> list[str]:
    """Returns notes on averages that are not read, or on the weights beside the average that is."""
    averages = [name for name in others if _AVERAGE.search(name)]
    if averaged:
        return [f"{name!r} also holds weights, which are not averaged" for name in others if name not in averages]
    return [f"{name!r} also holds weights, a moving average: --averaged reads them" for name in averages]
