"""Metrics of predicted joints: COCO's average precision and MPII's PCKh."""
