"""`python -m tests.gpu 1|2 [--dry] [--only NAMES]`: run the stages of a call, merge what they leave."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.gpu.fragment import read, write
from tests.gpu.plan import CALL, PLAN, Stage

GRACE = 3.0  # seconds between asking a stage to end and ending it
MOST_LOG = 1 << 20  # bytes of each log that travel


class Call:
    """One call: its stages' processes, what they leave in `work`, the two files in `out`."""

    def __init__(self, name: str, out: Path, work: Path, dry: bool = False, seconds: float = CALL) -> None:
        self.name, self.out, self.work, self.seconds = name, out, work, seconds
        self.start = time.monotonic()
        self.head = {"format": 1, "call": name, "dry": dry, "began": time.strftime("%Y-%m-%d %H:%M:%S")}
        self.folder = work / f"call-{name}"
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in (out, self.folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "CUPY_CACHE_DIR": os.environ.get("CUPY_CACHE_DIR", str(work / "cupy-cache")),
            "XPNET_GPU_WORK": str(work),
            **({"XPNET_GPU_DRY": "1"} if dry else {}),
        }
        # what the other call left on this machine travels again: only the last one's files may be kept
        self.calls: dict[str, dict[str, Any]] = {**read(work / "calls.json"), name: {}}

    def run(self, stages: Sequence[Stage]) -> bool:
        """Every stage until its planned end; a red gate ends the call. Whether all passed."""
        until, red, done = 0.0, "", self.calls[self.name]
        for stage in stages:
            until += stage.seconds
            left = min(until, self.seconds) - (time.monotonic() - self.start)
            if red:
                done[stage.name] = {"status": "not run", "why": f"{red} is red"}
            elif left < 1:
                done[stage.name] = {"status": "not run", "why": "no time is left"}
            else:
                done[stage.name] = self._stage(stage, left)
                if stage.gate and done[stage.name]["status"] != "passed":
                    red = stage.name
            print(_line(stage.name, done[stage.name]), flush=True)
            self.merge()
        return all(found["status"] in ("passed", "missing") for found in done.values())

    def _stage(self, stage: Stage, seconds: float) -> dict[str, Any]:
        fragment, log = self.folder / f"{stage.name}.json", self.folder / f"{stage.name}.log"
        start, cut = time.monotonic(), False
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", stage.module, *stage.arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**self.environment, "XPNET_GPU_FRAGMENT": str(fragment)},
                start_new_session=True,  # its children end with it
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                cut = True
            finally:
                _end(process)
        result, code = read(fragment), process.returncode
        status = "cut" if cut else "died" if code < 0 else "failed" if code else "passed"
        if status == "passed" and "missing" in result:
            status = "missing"
        seconds_taken = time.monotonic() - start
        found = {"status": status, "seconds": seconds_taken, "at_most": seconds, "exit_code": code}
        if status not in ("passed", "missing"):
            found["tail"] = log.read_text(errors="replace").splitlines()[-15:]
        return {**found, "result": result}

    def merge(self) -> None:
        """Write gpu.json and gpu.tar.gz from what there is."""
        devices = [call["device"].get("result") for call in self.calls.values() if "device" in call]
        device = next(filter(None, devices), None)
        seconds = time.monotonic() - self.start
        head = {**self.head, "emulated": (device or {}).get("emulated"), "device": device, "seconds": seconds}
        write(self.work / "calls.json", self.calls)
        write(self.out / "gpu.json", {**head, "calls": self.calls})
        part = self.out / "gpu.tar.gz.part"
        with tarfile.open(part, "w:gz") as tar, tempfile.TemporaryDirectory() as folder:
            for path in sorted(self.work.glob("call-*/*")):
                short = Path(folder, path.name)
                short.write_bytes(path.read_bytes()[-MOST_LOG:])
                tar.add(short, f"{path.parent.name}/{path.name}")
        os.replace(part, self.out / "gpu.tar.gz")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a stage that still runs to end; then end it, and every child that it left."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _line(name: str, stage: dict[str, Any]) -> str:
    """What the terminal shows of a stage."""
    if stage["status"] == "not run":
        return f"{name:<12} not run: {stage['why']}"
    lines = [f"{name:<12} {stage['status']} after {stage['seconds']:.1f} s of {stage['at_most']:.0f}"]
    if "missing" in stage["result"]:
        lines[0] += f": {stage['result']['missing']}"
    lines += [f"    {line}" for line in stage["result"].get("summary", [])]
    if stage["status"] in ("failed", "died") and not stage["result"].get("summary"):
        lines += [f"    | {line[:200]}" for line in stage["tail"]]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run one call; 0 if every stage passed, 1 if one did not."""
    parser = argparse.ArgumentParser(prog="tests/gpu.sh", description=__doc__)
    parser.add_argument("call", choices=list(PLAN))
    parser.add_argument("--dry", action="store_true", help="small sizes, to try the plan out")
    parser.add_argument("--only", metavar="NAMES", help="comma-separated stages")
    parser.add_argument(
        "--seconds", type=float, default=CALL, help="of the whole call (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    stages = PLAN[options.call]
    if options.only:
        names = options.only.split(",")
        if unknown := set(names) - {s.name for s in stages}:
            known = ", ".join(s.name for s in stages)
            parser.error(f"--only: call {options.call} has no stage {', '.join(unknown)}; it has {known}")
        stages = tuple(s for s in stages if s.name in names)
    work = Path(os.environ.get("XPNET_GPU_WORK") or Path(tempfile.gettempdir(), f"xpnet-gpu-{os.getuid()}"))
    if options.dry:
        work = work / "dry"
    out = Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="xpnet-gpu-out-"))
    call = Call(options.call, out.resolve(), work.resolve(), options.dry, options.seconds)
    passed = call.run(stages)
    print(f"{time.monotonic() - call.start:.0f} s in all; {out / 'gpu.json'}, {out / 'gpu.tar.gz'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
