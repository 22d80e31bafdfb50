"""`mpiexec -n 2 python -m xpnet.parallel program.py ...`, or `-m module ...`: ranks that end together.

MPI is started before anything of the program, and however a rank ends early, all ranks end: by an error,
`sys.exit`, a missing file, a bad option.
"""

import runpy
import sys

from xpnet.parallel.leaving import end_together

if __name__ == "__main__":
    words = sys.argv[1:]
    if not words or words == ["-m"]:
        sys.exit("usage: mpiexec -n N python -m xpnet.parallel (PROGRAM | -m MODULE) [ARGUMENT ...]")
    ranks, as_module = end_together(), words[0] == "-m"
    sys.argv = words[as_module:]
    try:
        if as_module:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = words[0].rpartition("/")[0] or "."
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code and ranks.size > 1:
            if not isinstance(stop.code, int):
                print(stop.code, file=sys.stderr)
            ranks.abort(stop.code if isinstance(stop.code, int) else 1)
        raise
