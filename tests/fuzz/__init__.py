"""Malformed files for every reader: `python -m tests.fuzz --inputs 50000`; a few in `test_fuzz.py`."""
