"""Optimizers' mathematics, once (`functions`), and the two ways to run it: for one run, and for a stack of runs.

To add an optimizer, write its coefficients, its update function and its spec in `functions`, and add a row to
`UPDATE_SPECS` and to the table in tests/training/test_step.py, which compares it with the optimizer's own steps.
"""
