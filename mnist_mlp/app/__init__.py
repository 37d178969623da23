"""Everything that uses Hydra: from the command line to jobs, and messages back to the user."""
