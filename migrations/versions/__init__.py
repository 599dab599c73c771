"""Migrations of the database schema, one file each, named after their dates."""
