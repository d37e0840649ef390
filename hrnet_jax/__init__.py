"""HRNet human pose estimation in JAX and Flax, number for number the original where it claims to be.

Reading order: ``configuration``; on the host ``skeletons``, ``geometry``, ``augment``, ``datasets``, ``pipeline``;
on the device ``heatmap``, ``losses``, ``models``, ``optimizer``, ``training``, ``inference``; then ``sharding``,
``checkpoint``, ``evaluation``, ``tasks``, ``run``, and the programs ``train.py`` and ``eval.py``.

Shape letters: ``B`` batch, ``K`` joints, ``H, W`` image, ``h, w`` heatmap (a quarter of it), ``N`` people.

Coordinates are ``(x, y)`` with pixel centres at whole numbers, in one of three units: photo pixels (the
original picture), crop pixels (the box cut out for the network), heatmap pixels (crop pixels / 4). Sizes are
``(height, width)``; arrays of pixels are ``[..., height, width, channels]``.
"""

__version__ = "0.2.0"
