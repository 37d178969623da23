"""Everything that knows Hydra: from the command line to jobs, and back to the user in words."""
