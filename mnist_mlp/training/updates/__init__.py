"""Update functions of the optimizers (`functions`), and their execution for one run and for a stack of runs.

Any `torch.optim.Optimizer` works by a YAML file in `conf/optim/` alone. An update function makes it fast, alone and in
a stack: write coefficients, update function and spec in `functions`, and add a row to `UPDATE_SPECS` there, and to
`HYPERPARAMETERS` in tests/helpers/optimizers.py, whose tests compare the function with the optimizer's own steps.
"""
