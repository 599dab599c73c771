"""What tests of other projects use: a pytest plugin and the server it starts.

Nothing here imports the server: it runs in a process of its own.
"""
