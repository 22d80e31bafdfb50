"""Benchmarks: xpnet beside its peers and the limits of the machine.

    python -m bench --quick                      the goals' sizes, about two minutes
    python -m bench --quick --busy 1             the same idle and beside one load process
    python -m bench --only step                  training steps, with the ratio to the hand-written NumPy step
    python -m bench --only cross --columns xpnet,torch
    python -m bench --save --plot run.png        everything, idle and beside a load, kept in bench/results/
    python -m bench --quick --compare OLD.json   exit code 1 for a regression beyond the noise
    python -m bench --patient --only step        on a machine that others use too
    python -m bench --history
    python -m bench.device                       a CUDA device, with data made there, in two minutes

`cases/` says what is measured, `columns/` on what, `rounds.py` how, `goals.py` what is to be reached. On the
CPU every column has a process of its own: `worker.py` runs in it, `process.py` and `apart.py` coordinate.
"""
