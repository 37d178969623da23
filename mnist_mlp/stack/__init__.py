"""The step of many runs at once: the same mathematics as one run's, on tensors with a first dimension of runs."""
