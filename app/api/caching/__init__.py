"""Responses with whole packages: conditional requests, the response cache and its use."""
