"""One file an experiment; its name, with hyphens, is the experiment's."""
