"""Benchmarks of the server, compared with the baselines of its stack in the same run."""
