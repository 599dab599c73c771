"""Rendering of stored entities as the responses of the API profiles."""
