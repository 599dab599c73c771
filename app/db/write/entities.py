"""Put single entities, and delete associations.

A PUT replaces the whole entity and undeletes it if it was soft-deleted.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, delete, select

from ...case.package import EntityRow, make_entity_row, make_item_row
from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEM_TYPES, ITEMS, ResourceType
from ...case.stored_form import FILE_ORIGIN, BodyOrigin
from ...exceptions import Conflict, Problem, UnprocessableContent
from ..pool import Database
from ..schema import tables
from ..schema.expressions import json_text
from ..statement import CompiledStatement
from . import change_log, dml
from .put_statements import PUT_STATEMENTS, choose_link_plans
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
    """Create or replace a document and its package; ``document`` must have a ``CFPackageURI``.

    ``path_prefix`` starts the paths in reported problems; ``origin`` says which values this server
    adds to responses, and are not stored. Raises ``Conflict`` if the package of another live
    document has the identifier of this document or of its package.
    """
    assert document.CFPackageURI
    package = document.CFPackageURI.identifier
    outcome = await _run_put_statements(
        database,
        DOCUMENTS,
        document,
        make_entity_row(DOCUMENTS.name, document),
        origin,
        package=package,
    )
    if outcome["claimed_by"]:
        message = (
            f"the package identifier {package}, or the identifier of its document, belongs to "
            f"the package of document {outcome['claimed_by']}: give this package another "
            "identifier, or delete that document first"
        )
        problem = Problem(path=f"{path_prefix}CFPackageURI.identifier", message=message)
        raise Conflict(message, problems=[problem])


async def put_item(
    database: Database, item: CFItem, path_prefix: str = "", origin: BodyOrigin = FILE_ORIGIN
) -> None:
    """Create or replace an item. Raises ``UnprocessableContent`` if its document does not exist.

    ``path_prefix`` and ``origin`` are as in ``put_document``.
    """
    document = item.CFDocumentURI.identifier
    outcome = await _run_put_statements(
        database, ITEMS, item, make_item_row(item), origin, document_identifier=document
    )
    if not outcome["document_exists"]:
        raise UnprocessableContent(
            f"no document has the identifier {document!r}: create it first",
            problems=[_not_found(f"{path_prefix}CFDocumentURI.identifier", "document", document)],
        )


async def put_item_type(
    database: Database,
    item_type: CFItemType,
    path_prefix: str = "",  # noqa: ARG001  all put functions have one signature
    origin: BodyOrigin = FILE_ORIGIN,
) -> None:
    """Create or replace an item type, a definition that all frameworks share.

    ``path_prefix`` and ``origin`` are as in ``put_document``.
    """
    await _run_put_statements(
        database, ITEM_TYPES, item_type, make_entity_row(ITEM_TYPES.name, item_type), origin
    )


async def put_association(
    database: Database,
    association: CFAssociation,
    path_prefix: str = "",
    origin: BodyOrigin = FILE_ORIGIN,
) -> None:
    """Create or replace an association.

    Its ends must be live items or documents of this server unless their ``targetType`` is not CASE.
    ``path_prefix`` and ``origin`` are as in ``put_document``. Raises ``UnprocessableContent`` for
    missing ends or documents, ``Conflict`` if another association has the same origin, destination
    and type.
    """
    document = association.CFDocumentURI and association.CFDocumentURI.identifier
    outcome = await _run_put_statements(
        database,
        ASSOCIATIONS,
        association,
        make_entity_row(ASSOCIATIONS.name, association),
        origin,
        document_identifier=document,
    )
    problems = []
    for name in ("originNodeURI", "destinationNodeURI"):
        if not outcome[name]:
            node = getattr(association, name).identifier
            problems.append(
                _not_found(f"{path_prefix}{name}.identifier", "live item or document", node)
            )
    if not outcome["document_exists"]:
        problems.append(
            _not_found(f"{path_prefix}CFDocumentURI.identifier", "document", str(document))
        )
    if problems:
        messages = "; ".join(f"{problem['path']}: {problem['message']}" for problem in problems)
        raise UnprocessableContent(
            f"the association refers to entities that do not exist: {messages}; create them first",
            problems=problems,
        )
    if outcome["duplicate"]:
        raise Conflict(
            f"association {outcome['duplicate']!r} already relates this origin and destination "
            f"as {association.associationType}: PUT that one, or choose another type"
        )


def _not_found(path: str, kind: str, identifier: str) -> Problem:
    return Problem(path=path, message=f"no {kind} has the identifier {identifier!r}")


async def delete_association(database: Database, identifier: str) -> None:
    """Delete an association permanently. Raises ``NotFound`` if it does not exist."""
    if not await database.execute(_delete_association(), identifier=identifier):
        raise ASSOCIATIONS.create_not_found_error(identifier)


async def _run_put_statements(
    database: Database,
    resource: ResourceType,
    entity: Entity,
    row: EntityRow,
    origin: BodyOrigin,
    **values: Any,
) -> asyncpg.Record:
    """Run alternative SQL statements for a PUT until one writes the entity.

    Returns its row, whose columns say which conditions of the PUT were met.
    """
    references = dml.REFERENCES.get(resource.name, ())
    present = frozenset(each.field for each in references if getattr(entity, each.field))
    values["last_change_date_time"] = row.last_change_date_time

    async def transaction(connection: Connection) -> asyncpg.Record | None:
        forms = await StoredForms.load(connection, [row], origin)
        stored = forms.restore(row)
        values["body"], values["keywords"] = stored.body, stored.keywords
        outcome: asyncpg.Record | None = None
        for plan in choose_link_plans(resource, present):
            outcome = await PUT_STATEMENTS[resource.name](plan).fetch_one(connection, **values)
            if outcome and outcome["links_resolved"]:
                break
        return outcome

    outcome = await database.run_write_with_retry(
        transaction, f"{resource.name} {entity.identifier}"
    )
    assert outcome is not None
    return outcome


async def lacks_case_version(database: Database, identifier: str) -> bool:
    """Return whether a live document was stored without the caseVersion that a PUT requires."""
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
    deletion = delete(table).where(table.c.identifier == bindparam("identifier", type_=Text))
    deleted = change_log.classify_deletes(deletion, table)
    logged = change_log.log_writes(deleted, ASSOCIATIONS, deleted.c.previous)
    identifier = select(deleted.c.identifier)
    return CompiledStatement(identifier.add_cte(*logged), has_generic_plan=True)
