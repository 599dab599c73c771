"""Frameworks as spreadsheets and as lines of JSON: the same package in other clothes."""
