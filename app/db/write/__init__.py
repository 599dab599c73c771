"""Writes: upserts of entities and packages, soft deletes, purges and the change log."""
