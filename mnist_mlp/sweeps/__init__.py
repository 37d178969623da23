"""The jobs of a sweep as directories: which have a result, who holds them, how far they are. There is no Hydra here."""
