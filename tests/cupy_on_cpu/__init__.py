"""The genuine CuPy without a GPU: its own code, built on a device that is made of the CPU. See README.md."""
