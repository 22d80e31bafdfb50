#!/usr/bin/env bash
# Everything that needs a CUDA device, in one call: the kernel tests and the whole suite through CuPy, parity with
# NumPy, NVIDIA's compute-sanitizer over the kernel tests, the benchmark. Reports go to the folder $1.
# Needs CuPy >= 14; PYTHON names the interpreter. A step that fails does not keep the next from running.
set -u
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-$(mktemp -d)}") python=${PYTHON:-python3}
mkdir -p "$out"
failed=()

step() { # step NAME COMMAND...: run it, keep what it prints, say how it went
  local name=$1 start=$SECONDS
  shift
  if "$@" > "$out/$name.log" 2>&1; then
    printf '%-12s passed in %d s\n' "$name" $((SECONDS - start))
  else
    printf '%-12s FAILED (%d) after %d s: %s\n' "$name" $? $((SECONDS - start)) "$out/$name.log"
    tail -n 30 "$out/$name.log"
    failed+=("$name")
  fi
}

nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader || exit 1
"$python" -c 'import cupy; print("cupy", cupy.__version__, "runtime", cupy.cuda.runtime.runtimeGetVersion())' || exit 1
export CUPY_CACHE_DIR=${CUPY_CACHE_DIR:-$out/cache}

pytest=("$python" -m pytest -q -p no:cacheprovider --backend cupy)
step kernels "${pytest[@]}" tests/kernels
step suite "${pytest[@]}" tests --ignore tests/kernels
step parity "$python" -c 'import sys; from xpnet.cli import main; sys.exit(main())' parity

if command -v compute-sanitizer > /dev/null; then
  # one allocation an array: inside a pool's chunk nothing is out of bounds; the slow tools get the small tests
  export XP_PLAIN_ALLOCATOR=1
  step memcheck compute-sanitizer --tool memcheck --error-exitcode 9 "${pytest[@]}" tests/kernels
  for tool in racecheck synccheck initcheck; do
    step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "${pytest[@]}" tests/kernels -k races
  done
  unset XP_PLAIN_ALLOCATOR
else
  echo "compute-sanitizer is not installed: memcheck, racecheck, synccheck and initcheck were not run"
  failed+=(compute-sanitizer)
fi

step bench "$python" -m bench

printf '%d s in all\n' "$SECONDS"
if [ "${#failed[@]}" -gt 0 ]; then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
