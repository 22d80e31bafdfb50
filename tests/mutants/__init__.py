"""Planted mistakes: `python -m tests.mutants xpnet/optim --sample 100` says which ones no test notices."""
