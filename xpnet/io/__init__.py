"""Files and other libraries: checkpoints, saved models, PyTorch, ONNX."""
