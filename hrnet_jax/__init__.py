"""HRNet human pose estimation in JAX and Flax, number for number the original where it claims to be.

Reading order: ``skeletons``, ``geometry``, ``augment``, ``datasets``, ``pipeline`` (the host), then
``heatmap``, ``losses``, ``models``, ``optimizer``, ``training``, ``inference`` (the device), then
``sharding``, ``checkpoint``, ``evaluation``, ``visualize``, ``runs`` and ``running`` (what a run is, and what
keeps it going), and the programs ``train.py`` and ``eval.py``.

Shape letters: ``B`` batch, ``K`` joints, ``H, W`` image, ``h, w`` heatmap (a quarter of it), ``N`` people.

Coordinates are ``(x, y)`` with pixel centres at whole numbers, in one of three units: photo pixels (the
original picture), crop pixels (the box cut out for the network), heatmap pixels (crop pixels / 4). Sizes are
``(height, width)``; arrays of pixels are ``[..., height, width, channels]``.
"""
