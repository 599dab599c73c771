"""Conformance tests: does a CASE server behave as its documents say?"""
