"""Update functions of the optimizers (`functions`), and their execution for one run and for a stack of runs.

Any `torch.optim.Optimizer` needs only a YAML file in `conf/optim/`. An update function makes it faster, both in single
runs and in stacks. To add an update function:

1. Write its coefficients, update function and spec in `functions`, and add a row to `UPDATE_SPECS` there.
2. Add a row to `HYPERPARAMETERS` in tests/helpers/optimizers.py. Tests then compare the function with the optimizer's
   own steps.
"""
