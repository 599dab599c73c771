"""Outgoing HTTP: SSRF guard, bounded downloads, Link headers."""
