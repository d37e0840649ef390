"""Configurations: tables of published rows (coco.py, mpii.py), the defaults, and the demo."""
