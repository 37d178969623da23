"""Objects of a run or a stack, built from a configuration; the only importer of Hydra besides `app`."""
