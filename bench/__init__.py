"""Benchmarks of xpnet beside its peers and the limits of the machine: `python -m bench`."""
