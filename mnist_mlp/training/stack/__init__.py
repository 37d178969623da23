"""The training loop for R runs at once: which go together, their tensors, their steps."""
