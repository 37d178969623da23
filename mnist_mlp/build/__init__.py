"""From a configuration to the objects of a run, or of a stack of runs, with every mistake named."""
