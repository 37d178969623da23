"""From statements to tables, figures, a page, and lines on the terminal."""
