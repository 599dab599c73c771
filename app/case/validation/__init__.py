"""Validation of JSON from clients: limits, exact numbers, parsing and problem reports."""
