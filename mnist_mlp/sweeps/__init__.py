"""Jobs of a sweep as directories, their ids, locks and progress. Hydra is not imported here."""
