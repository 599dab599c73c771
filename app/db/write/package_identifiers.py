"""Package identifiers, which a deleted document gives up to whoever publishes them again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, exists, literal_column, update

from ..schema import tables

RELEASED_SUFFIX: ColumnElement[str] = literal_column("'/'")
"""Follows the identifier of a document whose package has no other any more: no identifier ends so,
and the column stays unique."""


def has_deleted_document(packages: Any) -> ColumnElement[bool]:
    """Return whether the document of a package is deleted."""
    documents = tables.documents.alias("deleted_documents")
    return exists(literal_column("1")).where(
        documents.c.identifier == packages.c.document_identifier,
        documents.c.deleted_at.is_not(None),
    )


def release_identifiers(*identifiers: ColumnElement[Any], keeper: ColumnElement[Any]) -> CTE:
    """Take identifiers away from packages of deleted documents other than ``keeper``."""
    table = tables.packages
    return (
        update(table)
        .where(table.c.identifier.in_(identifiers), table.c.document_identifier != keeper)
        .where(has_deleted_document(table))
        .values(identifier=table.c.document_identifier.op("||")(RELEASED_SUFFIX))
        .returning(literal_column("1"))
        .cte("gave_up")
    )
