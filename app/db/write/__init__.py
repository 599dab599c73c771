"""Writes: upserts of entities, uploads of packages, soft deletes, purges and the change log."""
