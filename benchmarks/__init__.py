"""Benchmarks of the server, compared with the limits of its stack in the same run."""
