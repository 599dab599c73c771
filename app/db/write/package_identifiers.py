"""Package identifiers of deleted documents, which other documents may take over."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, literal_column, update

from ..schema import tables
from ..schema.expressions import exists_where

RELEASED_SUFFIX: ColumnElement[str] = literal_column("'/'")
"""Suffix of a released package identifier: it becomes that of the document with a slash.

No identifier ends in a slash, so the column stays unique."""


def has_deleted_document(packages: Any) -> ColumnElement[bool]:
    """Build the condition that the document of a package is soft-deleted."""
    documents = tables.documents.alias("deleted_documents")
    return exists_where(
        documents.c.identifier == packages.c.document_identifier,
        documents.c.deleted_at.is_not(None),
    )


def release_identifiers(*identifiers: ColumnElement[Any], new_owner: ColumnElement[Any]) -> CTE:
    """Build a CTE that takes package identifiers away from deleted documents.

    The document ``new_owner`` can then use them; its own package is not changed.
    """
    table = tables.packages
    return (
        update(table)
        .where(table.c.identifier.in_(identifiers), table.c.document_identifier != new_owner)
        .where(has_deleted_document(table))
        .values(identifier=table.c.document_identifier.op("||")(RELEASED_SUFFIX))
        .returning(literal_column("1"))
        .cte("released")
    )
