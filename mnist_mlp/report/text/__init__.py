"""Words of a report: answer, method, captions, and escaping for each format."""
