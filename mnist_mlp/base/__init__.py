"""Foundation of all packages: schema, errors, the files of runs and sweeps, provenance."""
