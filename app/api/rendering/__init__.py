"""JSON of entities and packages as each profile answers it."""
