"""A server to test against: reset, seeded, broken and questioned through ``/_test/``.

Only where the settings say so (``serve --test-mode``).
"""
