"""The primitives of JAX that can be exported to ONNX.

A network of your own exports if its inference uses only these, and calls, and any others on constants.
"""

from hrnet_jax.export.to_onnx import elementwise, layout, sums
from hrnet_jax.export.to_onnx.elementwise import Convert

PRIMITIVES: dict[str, Convert] = {
    **{name: elementwise.one_operator(op) for name, op in elementwise.OPERATORS.items()},
    "broadcast_in_dim": layout.broadcast,
    "concatenate": layout.concatenate,
    "conv_general_dilated": sums.convolution,
    "convert_element_type": elementwise.cast,
    "copy": layout.keep,
    "dot_general": sums.dot,
    "integer_pow": elementwise.integer_power,
    "pad": layout.pad,
    "reduce_max": sums.reduce("ReduceMax"),
    "reduce_min": sums.reduce("ReduceMin"),
    "reduce_sum": sums.reduce("ReduceSum"),
    "reduce_window_max": sums.pool("MaxPool"),
    "reduce_window_sum": sums.pool("AveragePool"),
    "reshape": layout.reshape,
    "rev": layout.reverse,
    "rsqrt": elementwise.rsqrt,
    "select_n": elementwise.select,
    "slice": layout.cut,
    "square": elementwise.square,
    "squeeze": layout.squeeze,
    "stack": layout.stack,
    "stop_gradient": layout.keep,
    "tile": layout.tile,
    "transpose": layout.transpose,
}
"""A function for each primitive, by its name in a jaxpr."""
