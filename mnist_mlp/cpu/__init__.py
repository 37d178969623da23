"""A training step on the CPU, as fast as the machine allows: the same mathematics as PyTorch's, in fewer passes."""
