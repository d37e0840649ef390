"""Poses in photos and videos."""
