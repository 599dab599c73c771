"""Database access: the only package that contains SQL. It knows nothing of HTTP."""
