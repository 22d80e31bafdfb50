#!/usr/bin/env bash
# First contact with hardware: everything that needs a CUDA device, in two calls of under 6 minutes each.
#
#   tests/gpu.sh --prepare       with a network: the wheels that the machine lacks, into wheels/ (ignored by git)
#   OUT=DIR tests/gpu.sh 1       device, smoke (red ends the call), compile, kernel tests, suite
#   OUT=DIR tests/gpu.sh 2       device, compile (what call 1 left), parity, benchmark, memcheck, racecheck, probes
#   OUT=DIR tests/gpu.sh 3       device, convolution: ours, cuDNN's and PyTorch's
#   python -m tests.cupy_on_cpu bash tests/gpu.sh 1 --dry     small sizes, no GPU needed; and 2 likewise
#   ... --only smoke,probes      these stages alone;  ... --seconds 200      a shorter call
#
# DIR receives gpu.json (device, and each stage: status, seconds, result; rewritten after every stage) and
# gpu.tar.gz (logs, JUnit files, raw rounds of the benchmark). The kernel cache and the stages' results lie
# in XPNET_GPU_WORK (default: a folder of the system's temporary one), outside DIR; call 2 on the same
# machine finds them there. tests/gpu/plan.py has the stages and their seconds; each runs alone too:
# `python -m tests.gpu.smoke`. How to read gpu.json: docs/pages/gpu.md. PYTHON names the interpreter.
set -u
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
export XPNET_GPU_WORK=${XPNET_GPU_WORK:-${TMPDIR:-/tmp}/xpnet-gpu-$(id -u)}
site=$XPNET_GPU_WORK/site

if [ "${1:-}" = --prepare ]; then
  # pure Python all of these: any interpreter's wheels fit
  "$python" -m pip download -q --no-deps --only-binary :all: -d wheels \
    array-api-compat array-api-strict pytest-xdist execnet
  # and cuDNN's frontend for the machine's Python
  exec "$python" -m pip download -q --no-deps --only-binary :all: -d wheels --python-version "${GPU_PYTHON:-3.12}" \
    'nvidia-cudnn-frontend<1.19'
fi

mkdir -p "$site"
for module in array_api_compat array_api_strict xdist execnet; do # what the machine has is not shadowed
  PYTHONPATH=$site:${PYTHONPATH:-} "$python" -c "import $module" 2> /dev/null && continue
  case $module in xdist) name=pytest-xdist ;; *) name=${module//_/-} ;; esac
  "$python" -m pip install -q --no-index --no-deps --no-compile --find-links wheels --target "$site" "$name" ||
    echo "gpu.sh: $name is missing: run tests/gpu.sh --prepare where there is a network, and bring wheels/ along"
done
if [ ! -d "$site/cudnn" ] && ls wheels/nvidia_cudnn_frontend-* > /dev/null 2>&1; then # its import would take seconds
  "$python" -m pip install -q --no-index --no-deps --no-compile --find-links wheels --target "$site" \
    nvidia-cudnn-frontend 2> /dev/null ||
    echo "gpu.sh: the wheels of nvidia-cudnn-frontend are for another Python: GPU_PYTHON=3.x tests/gpu.sh --prepare"
fi
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec "$python" -m tests.gpu "$@"
