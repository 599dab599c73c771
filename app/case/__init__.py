"""The CASE 1.1 standard as Python: no web, no SQL."""
