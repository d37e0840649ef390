"""Poses in people's own photos and videos."""
