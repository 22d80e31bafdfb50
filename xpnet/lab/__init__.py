"""The lab: every experiment, figure and table of the decks, reproduced with xpnet's public API.

`xpnet lab` lists them, `xpnet lab NAME` runs one. Each is a file of
`xpnet.lab.experiments`, meant to be read.
"""

from xpnet.lab.experiment import Check, Experiment, Picture, Result, Table, catalogue, experiment, report

__all__ = ["Check", "Experiment", "Picture", "Result", "Table", "catalogue", "experiment", "report"]
