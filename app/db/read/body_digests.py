"""MD5 digests of stored bodies, which show whether an entity changed.

Postgres computes them, so that comparing a package with the stored one transfers 32 bytes for each
entity instead of its body. Packages may leave out the links from entities to their document and
from the document to its package; such a link is taken from the stored body before digests are
compared, because leaving it out is no change.
"""

from __future__ import annotations

import hashlib
from functools import cache

import msgspec
from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Table,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
)

from ...case.package import EntityRow
from ...case.resources import DOCUMENTS
from ...case.stored_form import FIELDS
from ..schema import tables
from ..schema.expressions import DOCUMENT
from ..statement import CompiledStatement

DOCUMENT_LINK_FIELD = '"CFDocumentURI":'
PACKAGE_LINK_FIELD = '"CFPackageURI":'


def build_digest_column(table: Table) -> ColumnElement[str]:
    """Build the column ``digest`` with the MD5 digest of a stored JSON body."""
    return func.md5(cast(table.c.body, Text)).label("digest")


def matches_stored_entity(row: EntityRow, digest: str) -> bool:
    """Return whether the uploaded entity ``row`` equals the stored one with the MD5 ``digest``.

    ``digest`` is that of the stored body. If the upload lacked CFDocumentURI, which is then added
    to ``row``, the body without this link may match instead, because an association can be PUT
    without it.
    """
    if _digest(row.body) == digest:
        return True
    if not row.has_added_container_link or row.kind == DOCUMENTS.name:
        return False
    return _digest(_cut_document_link(row.body) + "}") == digest


def build_container_link_column(table: Table) -> ColumnElement[str]:
    """Build the column with an entity's stored CFDocumentURI, or a document's CFPackageURI.

    The CFDocumentURI is NULL if it is the usual one: if the body ends with the SQL parameter
    ``link_suffix``, the result of ``build_document_link_suffix``.
    """
    if table.name == DOCUMENTS.table:
        return cast(table.c.body["CFPackageURI"], Text).label("container_link")
    # Few bodies have an unusual link. Parsing all bodies of a large framework would take longer
    # than comparing their digests. Bytes are compared, because right() would count the characters
    # of each body: digests and links of 11,000 items took 72 ms of CPU with it and take 39 ms.
    body, suffix = cast(table.c.body, Text), bindparam("link_suffix", type_=Text)
    start = func.octet_length(body) - func.octet_length(suffix) + 1
    is_usual = func.substring(_encode(body), start) == _encode(suffix)
    link = case((is_usual, null()), else_=cast(table.c.body["CFDocumentURI"], Text))
    return link.label("container_link")


def _encode(text: ColumnElement[str]) -> ColumnElement[bytes]:
    return func.convert_to(text, literal_column("'UTF8'"), type_=LargeBinary)


@cache
def compile_document_body_query() -> CompiledStatement:
    """Compile the query for the JSON body of a document, even of a deleted one.

    The SQL parameter is ``document_identifier``.
    """
    table = tables.documents
    body = cast(table.c.body, Text).label("body")
    return CompiledStatement(select(body).where(table.c.identifier == DOCUMENT))


def build_document_link_suffix(document: str) -> str:
    """Return the usual end of the JSON bodies of a document's items: ``,"CFDocumentURI":{…}}``.

    This link has the title, identifier and uri of ``document``, the document's JSON body. Only
    bodies that end differently, for example with a former title, have to be parsed.
    """
    fields = FIELDS.decode(document)
    link = msgspec.json.encode({name: fields[name] for name in ("title", "identifier", "uri")})
    return f",{DOCUMENT_LINK_FIELD}{link.decode()}}}"


def add_container_link(row: EntityRow, link: str | None) -> EntityRow:
    """Return the row of an uploaded entity with the stored link to its container in the body.

    The container of a document is its package; that of another entity is its document. The row is
    unchanged if the upload contained a link, which packages of the standard omit (CASE 1.1 binding,
    CFPckg classes). ``link`` is the JSON of the stored link, or None.
    """
    if link is None or not row.has_added_container_link:
        return row
    if row.kind == DOCUMENTS.name:
        return row._replace(body=f"{row.body[:-1]},{PACKAGE_LINK_FIELD}{link}}}")
    return row._replace(body=f"{_cut_document_link(row.body)},{DOCUMENT_LINK_FIELD}{link}}}")


def _cut_document_link(body: str) -> str:
    """Return a JSON body without its last field, CFDocumentURI, and without the closing brace.

    The caller appends another field or the brace.
    """
    return body[: body.rindex(f",{DOCUMENT_LINK_FIELD}")]


def _digest(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
