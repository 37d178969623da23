"""Update functions of the optimizers (`functions`), and their execution for one run and for a stack of runs.

To add an optimizer, write its coefficients, its update function and its spec in `functions`, and add a row to
`UPDATE_SPECS` and to the table in tests/test_step.py, which compares the update function with `optimizer.step`.
"""
