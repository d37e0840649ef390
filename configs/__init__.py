"""One file for each run that can be had with a single command; `default.py` explains every field."""
