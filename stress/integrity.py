"""Invariants of the tables, checked with SQL."""

from support.databases import Execute

RULES = {
    "an item without its document": """
        SELECT identifier FROM items i
        WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.identifier = i.document_identifier)""",
    "a document without a package": """
        SELECT identifier FROM documents d
        WHERE NOT EXISTS (SELECT 1 FROM packages p WHERE p.document_identifier = d.identifier)""",
    "two associations with the same triple": """
        SELECT min(identifier) FROM associations
        GROUP BY origin_identifier, destination_identifier, association_type
        HAVING count(*) > 1""",
    "a column that differs from the body": """
        SELECT identifier FROM items WHERE identifier <> body ->> 'identifier'
        UNION ALL
        SELECT identifier FROM associations
        WHERE origin_identifier <> body -> 'originNodeURI' ->> 'identifier'""",
    "a linked subject that does not exist": """
        SELECT item_identifier FROM item_subjects l
        WHERE NOT EXISTS (SELECT 1 FROM subjects s WHERE s.identifier = l.subject_identifier)""",
    "a subject link that the item's body lacks": """
        SELECT l.item_identifier FROM item_subjects l JOIN items i ON i.identifier = item_identifier
        WHERE NOT EXISTS (
            SELECT 1 FROM json_array_elements(coalesce(i.body -> 'subjectURI', '[]')) u
            WHERE u ->> 'identifier' = l.subject_identifier)""",
    "an item without an entry in the change feed": """
        SELECT identifier FROM items i WHERE NOT EXISTS (
            SELECT 1 FROM changes c WHERE c.kind = 'CFItem' AND c.identifier = i.identifier)""",
    "a number of items that differs from the items": """
        SELECT document_identifier FROM (
            SELECT document_identifier, live_items FROM item_counts
            UNION ALL SELECT document_identifier, -1 FROM items WHERE deleted_at IS NULL) n
        GROUP BY document_identifier HAVING sum(live_items) <> 0""",
    "a constraint that is not valid": """
        SELECT conname FROM pg_constraint WHERE NOT convalidated""",
    "a duplicate row": """
        SELECT identifier FROM items GROUP BY identifier HAVING count(*) > 1""",
}
"""Queries for rows that violate an invariant. Constraints of the database enforce most invariants;
the queries show that a crash did not break those, so they read the tables instead of the
indexes."""


async def find_violated_invariants(run_sql: Execute) -> list[str]:
    """Check the invariants of the tables; return a message for each violated invariant.

    A message contains up to three of the rows that violate the invariant.
    """
    await run_sql("SET enable_indexscan = off")
    await run_sql("SET enable_indexonlyscan = off")
    await run_sql("SET enable_bitmapscan = off")
    violations = {rule: await run_sql(f"{query} LIMIT 3") for rule, query in RULES.items()}
    return [f"{rule}: {[row[0] for row in rows]}" for rule, rows in violations.items() if rows]
