"""Stress tests: crashes, outages, hostile input, load, comparison with a reference model.

``make stress`` runs all scenarios within ten minutes, on loopback addresses only; ``tests/stress``
runs a short version of each with the other tests.
"""
