"""A server to test against: reset, seeded, broken and questioned through ``/_target/``.

Only where the settings say so (``serve --target``).
"""
