"""Page of a report: templates, styles, script, and the data that the script shows."""
