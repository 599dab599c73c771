"""The CASE 1.1 standard in Python: model, validation and parsing, without HTTP or SQL."""
