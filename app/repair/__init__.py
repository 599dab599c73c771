"""Repair of invalid packages where only one meaning is possible, with a report of each repair."""
