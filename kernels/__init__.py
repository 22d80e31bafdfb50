"""The CUDA sources; `xpnet.cuda.loader` compiles them."""
