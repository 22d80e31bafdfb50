"""The plan of tests/gpu.sh: stages that run alone or one after the other, each leaving what it found."""
