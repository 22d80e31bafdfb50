"""Stage: which device, driver, clocks and packages. Red without a device."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from importlib import metadata

from bench import machine
from tests.gpu.fragment import Fragment, first_lines

PACKAGES = (
    "numpy", "array-api-compat", "array-api-strict", "cupy-cuda13x", "cupy-cuda12x", "cupy", "torch", "jax",
    "ml-dtypes", "pytest", "pytest-xdist", "hypothesis", "cuda-bindings", "cuda-core",
    "nvidia-cuda-nvrtc", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13", "nvmath-python",
)  # fmt: skip
QUERY = (
    "name", "driver_version", "memory.total", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem",
    "power.limit", "temperature.gpu",
)  # fmt: skip
TOOLS = ("nvidia-smi", "nvcc", "ncu", "compute-sanitizer", "cuobjdump")


def smi() -> dict[str, str] | str:
    """What nvidia-smi says of the first device, or why it says nothing."""
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is not on PATH"
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if ran.returncode:
        return (ran.stderr or ran.stdout).strip()[:300]
    values = [value.strip() for value in ran.stdout.splitlines()[0].split(",")]
    return dict(zip(QUERY, values, strict=False))


def main() -> int:
    """Name the device; 1 if CuPy finds none."""
    found = Fragment()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found.keep(
        python=platform.python_version(),
        system=platform.platform(),
        cores=machine.describe(1)["cores"],
        packages=versions,
        tools={tool: shutil.which(tool) for tool in TOOLS},
        nvidia_smi=smi(),
        sources=machine.sources(),
    )
    try:
        import cupy

        runtime = cupy.cuda.runtime
        properties = runtime.getDeviceProperties(0)
        found.keep(
            name=properties["name"].decode(),
            emulated=machine.emulated(),
            cupy=cupy.__version__,
            compute_capability=f"{properties['major']}.{properties['minor']}",
            multiprocessors=properties["multiProcessorCount"],
            memory=properties["totalGlobalMem"],
            l2=properties["l2CacheSize"],
            driver=runtime.driverGetVersion(),
            runtime=runtime.runtimeGetVersion(),
            nvrtc=list(cupy.cuda.nvrtc.getVersion()),
        )
        total = float(cupy.arange(1000).sum())  # a compiled kernel runs
    except Exception as error:  # no package, no driver, no device, no compiler: said, not raised
        return found.done(False, error=first_lines(error), summary=[f"no device: {first_lines(error)}"])
    emulated = ", EMULATED ON THE CPU: no time here is a GPU's" if found["emulated"] else ""
    line = f"{found['name']}, CuPy {cupy.__version__}, runtime {found['runtime']}{emulated}"
    return found.done(total == 499500, summary=[line])


if __name__ == "__main__":
    sys.exit(main())
