"""The slow half of the proof, run when a kernel changed: sanitizers, and mutants.

`python -m tests.kernels.ladder` runs for every source whose text is not the recorded one (only the last of
these where it is but its launcher asks for other instances):

1. its tests under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer;
2. its mutants: with any barrier or fence removed, a test must fail or ThreadSanitizer report;
3. every instance through NVRTC for every architecture.

What passed is written to ladder.json next to this file, by the hash of the text with its headers; the
ordinary test run fails while a record is missing. `--all` runs every source, `--only NAME` that launcher's,
`--check` none.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xpnet import cuda
from xpnet.cuda import loader

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = HERE / "ladder.json"
ARCHS = (75, 80, 90, 100, 120)
RACES = ("-k", "races")  # ThreadSanitizer is slow: it gets the tests named test_races*, which are small
_SYNC = re.compile(
    r"__syncthreads\(\);|__syncwarp\(\);|__threadfence\(\);|\bcluster_wait\(\);|\bmeet\([^(){};]*\);"
)
_FUNCTION = re.compile(r"^[^\n#;{}]*?\b(\w+)\([^;{}]*?\)\s*(?::[^;{}]*)?\{", re.M)


# ---- what there is to check -------------------------------------------------------------------------------


def sources() -> dict[str, str]:
    """Each source file and the name of the launcher, and so of the test file, that is responsible for it."""
    return {
        file: launcher.__name__.rpartition(".")[2]
        for launcher in cuda.launchers()
        for file in launcher.instances(90)
    }


def digest(file: str) -> str:
    """The hash of a source with its headers; comments and blank space do not count."""
    text = re.sub(r"//[^\n]*|#line[^\n]*", "", loader.assemble(file))
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:20]


def asked(file: str) -> str:
    """The hash of the instances that the launcher of a source asks for, on each architecture."""
    names = {arch: sorted(cuda.instances(arch)[file]) for arch in ARCHS}
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:20]


def record() -> dict[str, Any]:
    """What ladder.json holds."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def stale() -> list[str]:
    """The sources that have changed since they were recorded, or whose instances have."""
    known = record()
    now = {file: (digest(file), asked(file)) for file in sources()}
    then = {file: (known.get(file, {}).get("source"), known.get(file, {}).get("instances")) for file in now}
    return [file for file in now if now[file] != then[file]]


# ---- mutants ----------------------------------------------------------------------------------------------


def sites(file: str) -> list[tuple[int, int, str]]:
    """Start, end and a name for each barrier and fence of a source with its headers."""
    text = loader.assemble(file)
    for noise in (r"//[^\n]*", r"__launch_bounds__\([^)]*\)", r"XP_CLUSTER\(\w+\)"):
        text = re.sub(noise, lambda m: " " * len(m[0]), text)
    launched = {name.partition("<")[0] for name in cuda.instances(90)[file]}
    found: list[tuple[int, int, str]] = []
    for match in _SYNC.finditer(text):
        functions = _FUNCTION.findall(text, 0, match.start())
        if functions[-1] not in launched and len(re.findall(rf"\b{functions[-1]}\b", text)) == 1:
            continue  # a helper of common.cuh that this source does not call
        nth = sum(name.startswith(f"{functions[-1]}: ") for _, _, name in found) + 1
        found.append((match.start(), match.end(), f"{functions[-1]}: {match[0][:-1]} #{nth}"))
    return found


def mutate(code: str) -> str:
    """`code` without the synchronisation that XP_MUTANT (`file:number`) names, if it is that file's."""
    file, _, number = os.environ.get("XP_MUTANT", "").partition(":")
    if not number or not code.startswith(f'#line 1 "{file}"'):
        return code
    start, end, _ = sites(file)[int(number)]
    return code[:start] + ";" + " " * (end - start - 1) + code[end:]


# ---- running ----------------------------------------------------------------------------------------------


@functools.cache
def _library(name: str) -> str:
    return subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def environment(sanitizer: str = "", **more: str) -> dict[str, str]:
    """The environment of a process that runs kernels under a sanitizer."""
    env = {**os.environ, "XP_SANITIZER": sanitizer, "OPENBLAS_NUM_THREADS": "1", "XP_LADDER": "1", **more}
    if sanitizer:
        env["LD_PRELOAD"] = _library(f"lib{sanitizer}.so")
        env["ASAN_OPTIONS"] = "detect_leaks=0:allocator_may_return_null=1"
        env["UBSAN_OPTIONS"] = "print_stacktrace=1"
        env["TSAN_OPTIONS"] = "halt_on_error=1:exitcode=66:report_signal_unsafe=0"
    return env


def _pytest(target: str, *options: str, timeout: int = 1500, **env: str) -> tuple[bool, str]:
    """Whether the tests pass, and the end of what they print."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", target, *options]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(**env), capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return False, f"no end after {timeout} s"
    return done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def _kill(file: str, test: str, number: int, name: str) -> tuple[str, str]:
    """How a mutant is noticed: by a test, by ThreadSanitizer, or not ('')."""
    mutant = f"{file}:{number}"
    if not _pytest(test, XP_MUTANT=mutant)[0]:
        return name, "test"
    return name, "" if _pytest(test, *RACES, sanitizer="tsan", XP_MUTANT=mutant)[0] else "tsan"


def climb(file: str, launcher: str, jobs: int) -> dict[str, Any]:
    """Everything for one source; the record to keep.

    Raises:
        SystemExit: something failed; the message says what.
    """
    test = f"tests/kernels/test_{launcher}.py"
    start, known = time.perf_counter(), record().get(file, {})
    same = known.get("source") == digest(file)  # the instances alone have changed
    steps = {
        "asan+ubsan": lambda: _pytest(test, sanitizer="asan"),
        "tsan": lambda: _pytest(test, *RACES, sanitizer="tsan"),
        "nvrtc": lambda: _pytest("tests/kernels/test_nvrtc.py", "-k", launcher),
    }
    todo = {"nvrtc": steps["nvrtc"]} if same else steps
    with ThreadPoolExecutor(jobs) as pool:
        for name, (passed, output) in zip(todo, pool.map(lambda step: step(), todo.values()), strict=True):
            if not passed:
                raise SystemExit(f"{file}: {name} failed\n{output}")
            print(f"{file}: {name} passed", flush=True)
        kills = pool.map(lambda s: _kill(file, test, s[0], s[1][2]), [] if same else enumerate(sites(file)))
        mutants = {**known["mutants"]} if same else dict(kills)
    for name, how in mutants.items():
        print(f"{file}: without {name}: {'noticed by ' + how if how else 'NOT NOTICED'}", flush=True)
    if lost := [name for name, how in mutants.items() if not how]:
        raise SystemExit(f"{file}: nothing fails without {', '.join(lost)}")
    print(f"{file}: {time.perf_counter() - start:.0f} s", flush=True)
    return {"source": digest(file), "instances": asked(file), "passed": list(steps), "mutants": mutants}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="run every source, changed or not")
    parser.add_argument("--only", metavar="NAME", help="run this launcher's sources")
    parser.add_argument("--check", action="store_true", help="run nothing; fail if a source has changed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    changed = stale()
    if args.check:
        raise SystemExit(f"changed: {', '.join(changed)}" if changed else 0)
    for file, launcher in sources().items():
        if args.only == launcher or (not args.only and (args.all or file in changed)):
            made = climb(file, launcher, args.jobs)
            RECORD.write_text(json.dumps({**record(), file: made}, indent=1, sort_keys=True) + "\n")
        else:
            print(f"{file}: {'stale' if file in changed else 'as recorded'}")


if __name__ == "__main__":
    main()
