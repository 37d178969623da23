"""Tests, in folders as the package has them; `end_to_end` has those that start the program."""
