"""What must hold of the tables at any time, looked at from beside the server."""

from __future__ import annotations

from stress.cluster import Sql

RULES = {
    "an item without its document": """
        SELECT identifier FROM items i
        WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.identifier = i.document_identifier)""",
    "a document without a package": """
        SELECT identifier FROM documents d
        WHERE NOT EXISTS (SELECT 1 FROM packages p WHERE p.document_identifier = d.identifier)""",
    "a triple that two associations have": """
        SELECT min(identifier) FROM associations
        GROUP BY origin_identifier, destination_identifier, association_type
        HAVING count(*) > 1""",
    "a column that is not what its body says": """
        SELECT identifier FROM items WHERE identifier <> body ->> 'identifier'
        UNION ALL
        SELECT identifier FROM associations
        WHERE origin_identifier <> body -> 'originNodeURI' ->> 'identifier'""",
    "a subject that is linked and not there": """
        SELECT item_identifier FROM item_subjects l
        WHERE NOT EXISTS (SELECT 1 FROM subjects s WHERE s.identifier = l.subject_identifier)""",
    "a subject link that its item does not say": """
        SELECT l.item_identifier FROM item_subjects l JOIN items i ON i.identifier = item_identifier
        WHERE NOT EXISTS (
            SELECT 1 FROM json_array_elements(coalesce(i.body -> 'subjectURI', '[]')) u
            WHERE u ->> 'identifier' = l.subject_identifier)""",
    "an entity whose creation the feed does not tell": """
        SELECT identifier FROM items i WHERE NOT EXISTS (
            SELECT 1 FROM changes c WHERE c.kind = 'CFItem' AND c.identifier = i.identifier)""",
    "a constraint that is not valid": """
        SELECT conname FROM pg_constraint WHERE NOT convalidated""",
    "a row that is there twice": """
        SELECT identifier FROM items GROUP BY identifier HAVING count(*) > 1""",
}
"""Queries that find what breaks a rule. Constraints hold most of them: a crash must not undo that,
so they read the tables and not the indexes."""


async def broken_rules(sql: Sql) -> list[str]:
    """Every rule that is broken, with the first identifiers that break it."""
    await sql("SET enable_indexscan = off")
    await sql("SET enable_indexonlyscan = off")
    await sql("SET enable_bitmapscan = off")
    found = {rule: await sql(f"{query} LIMIT 3") for rule, query in RULES.items()}
    return [f"{rule}: {[row[0] for row in rows]}" for rule, rows in found.items() if rows]
