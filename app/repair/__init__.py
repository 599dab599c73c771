"""Repair invalid packages where only one meaning is possible, and report each repair."""
