"""Whether a CASE server behaves as the documents say: one function for each behaviour."""
