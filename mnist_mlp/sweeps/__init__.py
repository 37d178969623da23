"""Jobs of a sweep: directories, identifiers, locks and progress, independent of Hydra."""
