"""Test mode (``serve --test-mode``): the API ``/_test/`` for tests of CASE clients.

It resets and seeds data, injects faults, verifies requests and separates test suites in namespaces.
"""
