"""The conformance checks, by what they test."""
