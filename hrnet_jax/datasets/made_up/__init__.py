"""Made-up people in photos.

A person is built from `poses` and `bodies`, dressed by `outfits` and rendered by `figures`. The photo is composed
by `scenes` from people and `scenery`, and annotated by `labels`. `dataset` writes the files.
"""
