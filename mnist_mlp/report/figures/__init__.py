"""Figures of a report, drawn with Matplotlib, and their appearance."""
