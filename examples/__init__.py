"""Functional transforms on pose networks, explained in ``docs/functional.md``.

Run one with ``python -m examples.NAME``. Each file holds pure functions, and a program that shows them on a tiny
random network and made-up people, or on any checkpoint (``--checkpoint``).
"""
