"""Tests that start the program."""
