"""One entity at a time: put and delete.

A put replaces the whole entity and revives a deleted one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, delete, select

from ...case.package import EntityRow, entity_row, item_row
from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEM_TYPES, ITEMS, Resource
from ...case.stored_form import FILE_ORIGIN, BodyOrigin
from ...exceptions import Conflict, NotFound, Problem, UnprocessableContent
from ..pool import Database
from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement
from . import change_log, dml
from .put_statements import PUT_STATEMENTS, link_plans
from .stored_forms import StoredForms

if TYPE_CHECKING:
    import asyncpg

    from ...case.model import CFAssociation, CFItem, CFItemType, CFPckgDocument, Entity
    from ..connector import Connection


async def put_document(
    database: Database,
    document: CFPckgDocument,
    path_prefix: str = "",
    origin: BodyOrigin = FILE_ORIGIN,
) -> None:
    """Create or replace a document, and with it its package; ``under`` as in ``put_item``.

    The document must have a ``CFPackageURI``.
    """
    assert document.CFPackageURI
    package = document.CFPackageURI.identifier
    holder = await _put(
        database, DOCUMENTS, document, entity_row(DOCUMENTS.name, document), origin, package=package
    )
    if holder["claimed_by"]:
        message = (
            f"the package identifier {package}, or the identifier of its document, belongs to "
            f"the package of document {holder['claimed_by']}: give this package another "
            "identifier, or delete that document first"
        )
        problem = Problem(path=f"{path_prefix}CFPackageURI.identifier", message=message)
        raise Conflict(message, problems=[problem])


async def put_item(
    database: Database, item: CFItem, path_prefix: str = "", origin: BodyOrigin = FILE_ORIGIN
) -> None:
    """Create or replace an item of a live document; ``under`` prefixes the paths of problems."""
    document = item.CFDocumentURI.identifier
    found = await _put(database, ITEMS, item, item_row(item), origin, document_identifier=document)
    if not found["document_known"]:
        raise UnprocessableContent(
            f"no document has the identifier {document!r}: create it first",
            problems=[_unknown(f"{path_prefix}CFDocumentURI.identifier", "document", document)],
        )


async def put_item_type(
    database: Database,
    item_type: CFItemType,
    path_prefix: str = "",  # noqa: ARG001  all puts are called alike
    origin: BodyOrigin = FILE_ORIGIN,
) -> None:
    """Create or replace an item type, which refers to nothing that could be missing."""
    await _put(database, ITEM_TYPES, item_type, entity_row(ITEM_TYPES.name, item_type), origin)


async def put_association(
    database: Database,
    association: CFAssociation,
    path_prefix: str = "",
    origin: BodyOrigin = FILE_ORIGIN,
) -> None:
    """Create or replace an association between nodes that are here, or said to be elsewhere."""
    document = association.CFDocumentURI and association.CFDocumentURI.identifier
    found = await _put(
        database,
        ASSOCIATIONS,
        association,
        entity_row(ASSOCIATIONS.name, association),
        origin,
        document_identifier=document,
    )
    problems = []
    for name in ("originNodeURI", "destinationNodeURI"):
        if not found[name]:
            node = getattr(association, name).identifier
            problems.append(
                _unknown(f"{path_prefix}{name}.identifier", "live item or document", node)
            )
    if not found["document_known"]:
        problems.append(
            _unknown(f"{path_prefix}CFDocumentURI.identifier", "document", str(document))
        )
    if problems:
        messages = "; ".join(f"{problem['path']}: {problem['message']}" for problem in problems)
        raise UnprocessableContent(
            f"the association refers to what is not here: {messages}", problems=problems
        )
    if found["holder"]:
        raise Conflict(
            f"association {found['holder']!r} already relates this origin and destination "
            f"as {association.associationType}"
        )


def _unknown(path: str, kind: str, identifier: str) -> Problem:
    return Problem(path=path, message=f"no {kind} has the identifier {identifier!r}")


async def delete_association(database: Database, identifier: str) -> None:
    """Remove an association for good. Raises ``NotFound``."""
    if not await database.execute(_delete_association(), identifier=identifier):
        raise NotFound(ASSOCIATIONS.name, identifier)


async def _put(
    database: Database,
    resource: Resource,
    entity: Entity,
    sent: EntityRow,
    origin: BodyOrigin,
    **values: Any,
) -> asyncpg.Record:
    references = dml.REFERENCES.get(resource.name, ())
    present = frozenset(each.field for each in references if getattr(entity, each.field))
    values["last_change_date_time"] = sent.last_change_date_time

    async def work(connection: Connection) -> asyncpg.Record | None:
        forms = await StoredForms.load(connection, [sent], origin)
        stored = forms.restore(sent)
        values["body"], values["keywords"] = stored.body, stored.keywords
        found: asyncpg.Record | None = None
        for links in link_plans(resource, present):
            found = await PUT_STATEMENTS[resource.name](links).fetch_one(connection, **values)
            if found and found["settled"]:
                break
        return found

    found = await database.run_write(work, f"{resource.name} {entity.identifier}")
    assert found is not None
    return found


async def lacks_case_version(database: Database, identifier: str) -> bool:
    """Return whether a live document is stored without the caseVersion that a PUT requires."""
    return await database.fetch_one(_without_case_version(), identifier=identifier) is not None


@cache
def _without_case_version() -> CompiledStatement:
    table = tables.documents
    version = json_text(table.c.body, "caseVersion")
    return CompiledStatement(
        select(table.c.identifier).where(
            table.c.identifier == bindparam("identifier", type_=Text),
            table.c.deleted_at.is_(None),
            version.is_(None),
        )
    )


@cache
def _delete_association() -> CompiledStatement:
    table = tables.associations
    change = delete(table).where(table.c.identifier == bindparam("identifier", type_=Text))
    gone = change_log.classify_deletes(change, table)
    kept = change_log.log_and_bump(gone, ASSOCIATIONS, gone.c.previous)
    return CompiledStatement(select(gone.c.identifier).add_cte(*kept))
