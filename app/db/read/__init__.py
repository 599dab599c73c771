"""Reads: entities, lists, packages, trees, searches and the change feed."""
