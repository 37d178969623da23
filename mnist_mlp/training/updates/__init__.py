"""Update functions of the optimizers (`functions`), and their execution for one run and for a stack of runs.

To add an optimizer, write its coefficients, its update function and its spec in `functions`, and add a row to
`UPDATE_SPECS` there, and to `HYPERPARAMETERS` in tests/helpers/optimizers.py: the tests compare both with PyTorch.
"""
