"""A pytest plugin for the tests of other projects, and the server it starts.

The server runs in a process of its own; nothing in this package imports its modules.
"""
