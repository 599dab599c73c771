"""Import, export and sync of CASE packages."""
