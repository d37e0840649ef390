"""Comparison of the networks with PyTorch, layer by layer, with a report in HTML and JSON."""
