"""From statements to tables, figures, a page, and lines on the terminal."""

from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
