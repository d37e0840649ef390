"""Made-up people in photos and videos.

A person is built from `poses` and `bodies`, dressed by `outfits` and rendered by `figures`. The photo is composed
by `scenes` from people and `scenery`, and annotated by `labels`. `dataset` writes the files. In videos, people
walk on `streets` as `gait` says, and `video_labels` and `detector` annotate them. `videos` writes the files.
"""
