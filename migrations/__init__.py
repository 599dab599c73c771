"""The history of the schema; ``case-server migrate`` runs it."""
