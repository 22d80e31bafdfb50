"""Benchmarks: xpnet beside its peers and the limits of the machine.

    python -m bench --quick                      the goals' sizes, under a minute on an idle machine
    python -m bench --only step                  training steps, with the ratio to the hand-written NumPy step
    python -m bench --only cross --columns xpnet,torch
    python -m bench --save --plot run.png        everything, kept in bench/results/
    python -m bench --quick --compare OLD.json   exit code 1 for a regression beyond the noise
    python -m bench --patient --only step        on a machine that others use too
    python -m bench --history
    python -m bench.device                       a CUDA device, with data made there, in two minutes

`cases/` says what is measured, `columns.py` on what, `measure.py` how, `goals.py` what is to be reached.
"""
