"""From a configuration to the objects of a run, or of a stack of runs; the only importer of Hydra beside `app`."""
