"""Put single entities, and delete associations.

A PUT replaces the whole entity and undeletes it if it was soft-deleted.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from asyncpg import Record
from sqlalchemy import delete, select

from ...case.model import CFAssociation, CFItem, CFItemType, CFPckgDocument, Entity
from ...case.package import make_entity_row, make_item_row
from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEM_TYPES, ITEMS, ResourceType
from ...case.stored_form import NO_ECHOED_VALUES, EchoedValues
from ...exceptions import Conflict, Problem, UnprocessableContent
from ..connector import Connection
from ..locks import advisory_locks
from ..pool import Database
from ..schema import tables
from ..schema.expressions import IDENTIFIER, build_text_extract
from ..statement import CompiledStatement
from . import change_log, dml, package_identifiers
from .put_statements import iter_put_statements
from .stored_form_converter import StoredFormConverter


async def put_document(
    database: Database,
    document: CFPckgDocument,
    path_prefix: str = "",
    echoed: EchoedValues = NO_ECHOED_VALUES,
) -> None:
    """Create or replace a document and its package. The document must have a ``CFPackageURI``.

    ``path_prefix`` is prepended to the paths in reported problems. ``echoed`` describes values that
    the client may have copied from an earlier response, such as URLs of this server, and that are
    not stored. Raises ``Conflict`` if another live document or its package uses the identifier of
    the document or the package.
    """
    assert document.CFPackageURI
    package = document.CFPackageURI.identifier
    outcome = await _run_put_statements(database, DOCUMENTS, document, echoed, package=package)
    if outcome["claimed_by"]:
        message = package_identifiers.CONFLICT_MESSAGE % (package, outcome["claimed_by"])
        problem = Problem(path=f"{path_prefix}CFPackageURI.identifier", message=message)
        raise Conflict(message, problems=[problem])


async def put_item(
    database: Database, item: CFItem, path_prefix: str = "", echoed: EchoedValues = NO_ECHOED_VALUES
) -> None:
    """Create or replace an item. Raises ``UnprocessableContent`` if its document does not exist.

    ``path_prefix`` is prepended to the paths in reported problems. ``echoed`` describes values that
    the client may have copied from a response, such as URLs of this server; they are not stored.
    """
    document = item.CFDocumentURI.identifier
    values = {"document_identifier": document}
    outcome = await _run_put_statements(database, ITEMS, item, echoed, **values)
    if not outcome["document_exists"]:
        message = f"no document has the identifier {document!r}"
        problem = Problem(path=f"{path_prefix}CFDocumentURI.identifier", message=message)
        raise UnprocessableContent(f"{message}: create it first", problems=[problem])


async def put_item_type(
    database: Database,
    item_type: CFItemType,
    path_prefix: str = "",  # noqa: ARG001  all put functions have one signature
    echoed: EchoedValues = NO_ECHOED_VALUES,
) -> None:
    """Create or replace an item type, which all frameworks share.

    ``echoed`` describes values that the client may have copied from a response, which are not
    stored. ``path_prefix`` is not used; it is there because all ``put_…`` functions have the same
    parameters.
    """
    await _run_put_statements(database, ITEM_TYPES, item_type, echoed)


async def put_association(
    database: Database,
    association: CFAssociation,
    path_prefix: str = "",
    echoed: EchoedValues = NO_ECHOED_VALUES,
) -> None:
    """Create or replace an association.

    ``path_prefix`` is prepended to the paths in reported problems. ``echoed`` describes values that
    the client may have copied from a response; they are not stored. Raises ``UnprocessableContent``
    if the document, or an origin or destination of type CASE, does not exist, and ``Conflict`` if
    another association has the same origin, destination and type.
    """
    document = association.CFDocumentURI and association.CFDocumentURI.identifier
    values = {"document_identifier": document}
    outcome = await _run_put_statements(database, ASSOCIATIONS, association, echoed, **values)
    problems = [
        Problem(
            path=f"{path_prefix}{name}.identifier",
            message=f"no {kind} has the identifier {getattr(association, name).identifier!r}",
        )
        for name, check, kind in (
            ("originNodeURI", "originNodeURI", "live item or document"),
            ("destinationNodeURI", "destinationNodeURI", "live item or document"),
            ("CFDocumentURI", "document_exists", "document"),
        )
        if not outcome[check]
    ]
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


async def delete_association(database: Database, identifier: str) -> None:
    """Delete an association permanently. Raises ``NotFound`` if it does not exist."""
    statement = partial(_compile_association_delete().fetch_one, identifier=identifier)
    if not await database.run_write_with_retry(statement, f"{ASSOCIATIONS.name} {identifier}"):
        raise ASSOCIATIONS.create_not_found_error(identifier)


async def _run_put_statements(
    database: Database, resource: ResourceType, entity: Entity, echoed: EchoedValues, **values: Any
) -> Record:
    """Run the SQL statements that PUT an entity, and return the checks of the last one.

    Most entities need only the first statement; a slower one follows if it finds that definitions
    or links have to be written. ``echoed`` describes copied values that are not stored; ``values``
    are further SQL parameters. The returned row has the result of each check, such as
    ``document_exists``.
    """
    if isinstance(entity, CFItem):
        row = make_item_row(entity)
    else:
        row = make_entity_row(resource.name, entity)
    references = dml.REFERENCES.get(resource.name, ())
    link_fields = frozenset(
        reference.field for reference in references if getattr(entity, reference.field)
    )
    values["last_change_date_time"] = row.last_change_date_time

    async def transaction(connection: Connection) -> Record | None:
        converter = await StoredFormConverter.load(connection, [row], echoed)
        stored = converter.to_stored_row(row)
        values["body"], values["keywords"] = stored.body, stored.keywords
        outcome: Record | None = None
        for statement in iter_put_statements(resource, link_fields):
            outcome = await statement.fetch_one(connection, **values)
            if outcome and outcome["links_resolved"]:
                break
        return outcome

    async def locked_transaction(connection: Connection) -> Record | None:
        async with advisory_locks(connection, entity.identifier, values["package"]):
            return await transaction(connection)

    is_document = resource is DOCUMENTS
    outcome = await database.run_write_with_retry(
        locked_transaction if is_document else transaction,
        f"{resource.name} {entity.identifier}",
        # The statement has to see what was committed before the locks were granted.
        isolation="read_committed" if is_document else "repeatable_read",
    )
    assert outcome is not None
    return outcome


async def document_lacks_case_version(database: Database, identifier: str) -> bool:
    """Return whether a live document was stored without a caseVersion, which a PUT requires."""
    query = _compile_missing_case_version_query()
    return await database.fetch_one(query, identifier=identifier) is not None


@cache
def _compile_missing_case_version_query() -> CompiledStatement:
    table = tables.documents
    is_same = table.c.identifier == IDENTIFIER
    lacks_version = build_text_extract(table.c.body, "caseVersion").is_(None)
    rows = select(table.c.identifier).where(is_same, table.c.deleted_at.is_(None), lacks_version)
    return CompiledStatement(rows)


@cache
def _compile_association_delete() -> CompiledStatement:
    table = tables.associations
    deletion = delete(table).where(table.c.identifier == IDENTIFIER)
    delete_cte = change_log.build_delete_cte(deletion, table)
    write = change_log.EntityWrite(delete_cte, ASSOCIATIONS, delete_cte.c.previous_document)
    logged = change_log.build_log_ctes(write)
    identifier = select(delete_cte.c.identifier)
    return CompiledStatement(identifier.add_cte(*logged), has_generic_plan=True)
