"""Data sets: readers of annotations and photos, prepared records, a generator of made-up people."""
