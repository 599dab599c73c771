"""The database schema: tables, columns, indexes and the version a release needs."""
