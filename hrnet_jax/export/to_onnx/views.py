"""Views of tensors: reshaping, reordering and repeating arrays, with data moved only where it must be."""

import itertools
from collections.abc import Sequence

import numpy as np

from hrnet_jax.export.to_onnx.graph import BATCH, Constant, Graph, Group, Repeat, UnsupportedError, Value, View


def identity(name: str, shape: Sequence[int]) -> View:
    """Returns the view of a tensor as it is."""
    return View(name, tuple(shape), tuple((axis,) for axis in range(len(shape))))


def with_order(name: str, shape: Sequence[int], order: Sequence[int]) -> View:
    """Returns the view of shape `shape` of a tensor whose axes are these axes of the JAX array."""
    groups: list[Group] = [()] * len(shape)
    for axis, of_jax in enumerate(order):
        groups[of_jax] = (axis,)
    return View(name, tuple(shape[axis] for axis in order), tuple(groups))


def regroup(view: View, shape: Sequence[int]) -> View | None:
    """Returns the view reshaped to another shape, or None if an axis would have to be split."""
    rest = [part for group in view.groups for part in group]
    groups: list[Group] = []
    for size, following in itertools.zip_longest(shape, shape[1:]):
        group: list[int | Repeat] = [rest.pop(0)] if size == 1 and rest and view.size(rest[0]) == 1 else []
        while size > 1:
            if not rest or size % view.size(rest[0]):
                return None
            size //= view.size(rest[0])
            group.append(rest.pop(0))
        while rest and view.size(rest[0]) == 1 and following != 1:
            group.append(rest.pop(0))
        groups.append(tuple(group))
    return None if rest else View(view.name, view.sizes, tuple(groups))


def reshape(graph: Graph, view: View, shape: Sequence[int]) -> View:
    """Reshapes an array."""
    if (regrouped := regroup(view, shape)) is not None:
        return regrouped
    name = arrange(graph, view, range(len(view.groups)))
    return identity(graph.add("Reshape", name, graph.integers(_sizes(shape))), shape)


def _sizes(shape: Sequence[int]) -> list[int]:
    """Returns the sizes for ONNX's Reshape: -1 for the one that depends on the batch."""
    sizes = [-1 if size % BATCH == 0 else size for size in shape]
    if sizes.count(-1) > 1:
        raise UnsupportedError("two axes of an array depend on the batch size")
    return sizes


def simplify(graph: Graph, view: View) -> View:
    """Moves data so that each JAX axis is an ONNX axis, in any order, or has size 1 or repetitions only."""
    view = _enlarge(graph, view)
    for axis, group in enumerate(view.groups):
        if len(group) > 1:
            view = _expand(graph, view, axis)
    return view if all(len(group) <= 1 for group in view.groups) else _merge(graph, view)


def _enlarge(graph: Graph, view: View) -> View:
    """Applies repetitions of single pixels by one nearest-neighbour upsampling."""
    factors: dict[int | Repeat, int] = {}
    for group in view.groups:
        if len(group) == 2 and isinstance(group[0], int) and isinstance(group[1], Repeat):
            factors[group[0]] = group[1].times
    if not factors:
        return view
    scales = np.array([factors.get(axis, 1) for axis in range(len(view.sizes))], np.float32)
    rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    name = graph.add("Resize", view.name, "", graph.constant(scales), **rule)
    sizes = tuple(size * factors.get(axis, 1) for axis, size in enumerate(view.sizes))
    return View(name, sizes, tuple(g[:1] if g and g[0] in factors else g for g in view.groups))


def _expand(graph: Graph, view: View, axis: int) -> View:
    """Turns the repetitions in an axis into axes of the ONNX tensor."""
    while repeats := [at for at, part in enumerate(view.groups[axis]) if isinstance(part, Repeat)]:
        before = [part for group in (*view.groups[:axis], view.groups[axis][: repeats[0]]) for part in group]
        place = max((part + 1 for part in before[-1:] if isinstance(part, int)), default=0)
        times = view.size(view.groups[axis][repeats[0]])
        if times % BATCH == 0:
            raise UnsupportedError("an array is repeated along the batch")
        name = graph.add("Unsqueeze", view.name, graph.integers([place]))
        lengths = [times if at == place else 1 for at in range(len(view.sizes) + 1)]
        name = graph.add("Expand", name, graph.integers(lengths))
        groups = [[p + 1 if isinstance(p, int) and p >= place else p for p in group] for group in view.groups]
        groups[axis][repeats[0]] = place
        view = View(name, (*view.sizes[:place], times, *view.sizes[place:]), tuple(map(tuple, groups)))
    return view


def _merge(graph: Graph, view: View) -> View:
    """Merges the ONNX axes of each JAX axis into one."""
    axes = {axis: [part for part in group if isinstance(part, int)] for axis, group in enumerate(view.groups)}
    order, name = [axis for axis in axes if axes[axis]], view.name
    in_place = sorted(order, key=lambda axis: axes[axis][0])
    if [part for axis in in_place for part in axes[axis]] == list(range(len(view.sizes))):
        order = in_place  # the parts of each are beside each other
    else:
        name = graph.add("Transpose", name, perm=[part for axis in order for part in axes[axis]])
    sizes = graph.integers(_sizes([view.shape[axis] for axis in order]))
    merged = with_order(graph.add("Reshape", name, sizes), view.shape, order)
    return with_repeats(merged, view.shape)


def with_repeats(view: View, shape: Sequence[int]) -> View:
    """Returns a view of this shape, with repetitions along axes that its tensor lacks."""
    groups = [group or (Repeat(size),) * (size > 1) for group, size in zip(view.groups, shape, strict=True)]
    return View(view.name, view.sizes, tuple(groups))


def drop(graph: Graph, view: View, axes: Sequence[int]) -> View:
    """Removes the ONNX axes of JAX axes of size 1."""
    dropped = sorted(part for axis in axes for part in view.groups[axis] if isinstance(part, int))
    if not dropped:
        return view
    name = graph.add("Squeeze", view.name, graph.integers(dropped))
    sizes = tuple(size for axis, size in enumerate(view.sizes) if axis not in dropped)
    number = {axis: new for new, axis in enumerate(a for a in range(len(view.sizes)) if a not in dropped)}
    groups = [[number[p] if isinstance(p, int) else p for p in g if p not in dropped] for g in view.groups]
    return View(name, sizes, tuple(map(tuple, groups)))


def arrange(graph: Graph, value: Value, order: Sequence[int]) -> str:
    """Returns the name of a tensor with these axes of a JAX array, of full size. Other axes must have size 1."""
    if isinstance(value, Constant):
        return align(graph, Constant(value.full(), value.shape), order)
    view = simplify(graph, value)
    for axis in range(len(view.groups)):
        view = _expand(graph, view, axis)
    return align(graph, view, order)


def align(graph: Graph, value: Value, order: Sequence[int]) -> str:
    """Returns the name of a tensor with these axes of a JAX array. Repeated axes have size 1."""
    if isinstance(value, Constant):
        others = [axis for axis in range(value.value.ndim) if axis not in order]
        array = value.value.transpose([*order, *others])
        return graph.constant(array.reshape(array.shape[: len(order)]))
    view = simplify(graph, value)
    name, perm = view.name, [axis for of_jax in order if (axis := view.axis(of_jax)) is not None]
    if perm != sorted(perm):
        name = graph.add("Transpose", name, perm=perm)
    missing = [place for place, axis in enumerate(order) if view.axis(axis) is None]
    return graph.add("Unsqueeze", name, graph.integers(missing)) if missing else name
