"""What breaks the server on purpose: faults, hostile input, load, and a model to compare with.

``make stress`` runs all of it within ten minutes, on loopback only; ``tests/stress`` runs a
short version of each part with everything else.
"""
