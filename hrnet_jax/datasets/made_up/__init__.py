"""Made-up people in photos.

Reading order: `poses` and `bodies` (skeleton and solids), `outfits` and `fabrics` (clothes and colours), `figures`
(rendering of a person), `props` and `scenery` and `scenes` (the photo), `labels` (annotations), `dataset` (files).
"""
