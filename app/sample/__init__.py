"""A small framework made for this project, in which everything of the standard occurs."""

from __future__ import annotations

from importlib.resources import files

SAMPLE_DOCUMENT_ID = "f0976224-a9ee-4d2e-ab23-9c8ed8c4edeb"
"""The identifier of the sample document."""


def read_sample() -> bytes:
    """Return the sample framework, a small CASE package made for tests and demos, as JSON bytes."""
    return files(__name__).joinpath("framework.json").read_bytes()
