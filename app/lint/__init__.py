"""The linter for CASE packages; needs no server and no database."""
