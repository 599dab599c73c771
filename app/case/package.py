"""Split a CFPackage into rows to store, and check the package as a whole.

A row is one entity with its body as the standard writes it: JSON without nulls, fields in the order
of the model, and links to the document filled in (CASE 1.1 binding, CFPckg classes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from pydantic_core import to_json

from ..exceptions import Problem
from .model import CFAssociation, CFPackage, CFPckgDocument, CFPckgItem, CFRubric, Entity, LinkURI
from .resources import DEFINITIONS
from .types import Identifier, Omittable
from .validation.limits import ENTITY_DENSITY, RUBRIC_DENSITY, DensityLimit
from .validation.parsing import parse_json_body
from .validation.problems import ProblemCollector, format_location
from .vocabulary import UNKNOWN_ITEM_TYPE

IdentifierNamespace: TypeAlias = list[tuple[str, list[str]]]
"""Identifiers that must differ, as (path of a list, identifiers of its members)."""

AssociationKey: TypeAlias = tuple[str, str, str]
"""Origin, destination and type of an association; unique within a package."""

CHILDREN = {"CFRubricCriteria", "CFRubricCriterionLevels"}
"""Fields whose members become rows of their own; an empty list stays in the body."""

KEYWORDS = {"conceptKeywordsURI"}
"""A field that is written as a list, while responses contain its last member."""


class EntityRow(NamedTuple):
    """A database row for one entity: its class, identifier, JSON body and metadata."""

    kind: str
    identifier: str
    body: str
    last_change_date_time: datetime
    keywords: str | None = None
    """A JSON array of all concepts that an item links to; its body contains the last one."""
    parent: str | None = None
    """The identifier of the rubric of a criterion, or of the criterion of a level."""
    has_added_container_link: bool = False
    """True if the link of an item or association to its document, or of a document to its package,
    was added because it was sent without one."""


@dataclass
class DerivedValues:
    """Records which values the import derived because the file lacks them, such as identifiers.

    The import stores a derived value only if the database has no value for the same field.
    """

    items: list[str] = field(default_factory=list)
    """Identifiers of items, made from their codes or statements."""
    times: set[tuple[str, str]] = field(default_factory=set)
    """(class name, identifier) of the entities whose time of change is derived."""
    order: list[tuple[str, ...]] = field(default_factory=list)
    """For each parent, its children's association identifiers, if numbered in file order."""
    identifier_source: str | None = None
    """What the identifier of the document was made from, if the file has none."""
    has_time_of_file: bool = False
    """True if the time of change of the document is that of the file."""
    aliases: dict[str, str] = field(default_factory=dict)
    """The identifiers that options replaced, with the new ones."""


@dataclass(frozen=True)
class PreparedPackage:
    """A parsed and validated package, ready to be stored, with the rows of its entities."""

    document_identifier: str
    package_identifier: str
    extensions: str | None
    definition_extensions: str | None
    rows: Iterable[EntityRow]
    """The rows of all entities; can be iterated more than once."""
    has_package_link: bool = True
    """True if the document has a CFPackageURI; otherwise the stored one stays."""
    derived: DerivedValues = field(default_factory=DerivedValues)
    locations: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The row or line of each item and association by identifier, unless the file is one value."""

    def count_entities(self, class_name: str) -> int:
        """Return how many entities of a class, such as ``"CFItem"``, the package contains."""
        return Counter(row.kind for row in self.rows)[class_name]


class IdentifiedCFPackage(CFPackage):
    """A CFPackage with an identifier of its own, as TimeBack's platform returns it."""

    identifier: Omittable[Identifier] = None


class UploadedCFPackage(IdentifiedCFPackage):
    """A package in a request to CFPackages, which must contain items and associations.

    The OpenAPI document of TimeBack's platform requires both arrays. To delete all items, a client
    sends an empty array; omitting it is an error.
    """

    CFItems: list[CFPckgItem]
    CFAssociations: list[CFAssociation]


class EntityListSpec(NamedTuple):
    """Describes a list in a package, such as CFItems: its path, and the class of its members."""

    path: tuple[str, ...]
    schema: type[Entity]
    density: DensityLimit = ENTITY_DENSITY


DEFINITIONS_FIELD = "CFDefinitions"
LISTS = (
    *(EntityListSpec((DEFINITIONS_FIELD, kind.collection), kind.schema) for kind in DEFINITIONS),
    EntityListSpec(("CFItems",), CFPckgItem),
    EntityListSpec(("CFAssociations",), CFAssociation),
    EntityListSpec(("CFRubrics",), CFRubric, RUBRIC_DENSITY),
)
"""All lists of entities, in the order of their rows."""


def parse_package(
    raw: bytes,
    *,
    allow_dense: bool = False,
    schema: type[IdentifiedCFPackage] = IdentifiedCFPackage,
) -> PreparedPackage:
    """Parse and validate a CFPackage in JSON, and return a ``PreparedPackage`` with all rows.

    The package may be wrapped: ``{"CFPackage": {…}}``. Raises ``BadRequest`` if the body is not
    JSON, and ``UnprocessableContent`` listing all validation errors. Without ``allow_dense``, also
    raises ``ContentTooLarge`` for too many values in few bytes (see ``DensityLimit``).
    """
    package = parse_json_body(schema, raw, ("CFPackage", "package"), allow_dense=allow_dense).entity
    rows = iter_package_rows(
        package, lambda spec: attrgetter(".".join(spec.path))(package), ProblemCollector()
    )
    return prepare_package(package, [*rows])


def prepare_package(package: CFPackage, rows: Iterable[EntityRow]) -> PreparedPackage:
    """Combine a validated CFPackage and its ``EntityRow`` objects into a ``PreparedPackage``.

    The result contains the identifiers of the document and the package, and the ``extensions`` of
    the package and its definitions as JSON strings.
    """
    document = package.CFDocument
    link = document.CFPackageURI
    return PreparedPackage(
        document_identifier=document.identifier,
        package_identifier=link.identifier if link else document.identifier,
        extensions=_to_json(package.extensions),
        definition_extensions=_to_json(package.CFDefinitions.extensions),
        rows=rows,
        has_package_link=link is not None,
    )


def iter_package_rows(
    package: IdentifiedCFPackage,
    get_members: Callable[[EntityListSpec], Iterable[Entity]],
    problems: ProblemCollector,
) -> Iterator[EntityRow]:
    """Yield an ``EntityRow`` for the document of a package, then for each member of its lists.

    Given an ``EntityListSpec``, ``get_members`` returns the valid members of that list, and adds
    the errors of invalid members to ``problems``. Items and associations without a CFDocumentURI
    get one. After the last row, raises ``UnprocessableContent`` if there are errors or duplicates.
    """
    document = package.CFDocument
    yield make_entity_row(
        "CFDocument", document, has_added_container_link=document.CFPackageURI is None
    )
    link = make_document_link(document)
    namespaces: list[IdentifierNamespace] = []
    criteria: IdentifierNamespace = []
    levels: IdentifierNamespace = []
    keys: list[tuple[str, AssociationKey]] = []
    for spec in LISTS:
        identifiers: list[str] = []
        namespaces.append([(format_location(spec.path), identifiers)])
        for entity in get_members(spec):
            if problems:
                continue
            identifiers.append(entity.identifier)
            match entity:
                case CFPckgItem():
                    yield make_item_row(entity, link)
                case CFAssociation():
                    origin, destination = entity.originNodeURI, entity.destinationNodeURI
                    key = (origin.identifier, destination.identifier, entity.associationType)
                    keys.append((entity.identifier, key))
                    yield _make_association_row(entity, link)
                case CFRubric():
                    _add_rubric_identifiers(entity, len(identifiers) - 1, criteria, levels)
                    yield from _iter_rubric_rows(entity)
                case _:
                    yield make_entity_row(type(entity).__name__, entity)
    if problems:
        raise problems.to_exception("CFPackage")
    duplicates = ProblemCollector()
    namespaces += [criteria, levels]
    for problem in (*find_package_identifier_problem(package), *_find_duplicates(namespaces, keys)):
        duplicates.add_problem(**problem)
    if duplicates:
        raise duplicates.to_exception("CFPackage")


def make_document_link(document: CFPckgDocument) -> LinkURI:
    """Return a ``LinkURI`` to a document, for items and associations without a CFDocumentURI."""
    return LinkURI(title=document.title, identifier=document.identifier, uri=document.uri)


def _iter_rubric_rows(rubric: CFRubric) -> Iterator[EntityRow]:
    """Yield an ``EntityRow`` for a rubric, each of its criteria and each of their levels."""
    yield make_entity_row("CFRubric", rubric)
    for criterion in rubric.CFRubricCriteria or ():
        yield make_entity_row("CFRubricCriterion", criterion, parent=rubric.identifier)
        for level in criterion.CFRubricCriterionLevels or ():
            yield make_entity_row("CFRubricCriterionLevel", level, parent=criterion.identifier)


def make_entity_row(
    kind: str,
    entity: Entity,
    *,
    keywords: str | None = None,
    parent: str | None = None,
    has_added_container_link: bool = False,
) -> EntityRow:
    """Create the ``EntityRow`` of an entity.

    ``kind`` is the name of its class, such as "CFItem". The row's body leaves out nested entities,
    such as the criteria of a rubric, because they have rows of their own. The keyword arguments are
    fields of ``EntityRow``.
    """
    excluded_fields = set()
    for name in _get_child_and_keyword_fields(type(entity)):
        value = getattr(entity, name)
        # Without any links the field is absent, not null.
        if value if name in CHILDREN else value == []:
            excluded_fields.add(name)
    body = entity.model_dump_json(exclude_none=True, exclude=excluded_fields or None)
    return EntityRow(
        kind,
        entity.identifier,
        body,
        entity.lastChangeDateTime,
        keywords,
        parent,
        has_added_container_link,
    )


@cache
def _get_child_and_keyword_fields(model: type[Entity]) -> tuple[str, ...]:
    return tuple(name for name in (*CHILDREN, *KEYWORDS) if name in model.model_fields)


def make_item_row(item: CFPckgItem, document_link: LinkURI | None = None) -> EntityRow:
    """Create the ``EntityRow`` of an item.

    An item without a CFDocumentURI gets ``document_link``. The item type "unknown" is dropped,
    because some API profiles return it for items without a type. The row's ``keywords`` contains
    all links to concepts. Its JSON body contains only the last one, as responses do.
    """
    if item.CFItemType == UNKNOWN_ITEM_TYPE and item.CFItemTypeURI is None:
        item.CFItemType = None
    if has_added_container_link := item.CFDocumentURI is None:
        item.CFDocumentURI = document_link
    keywords = _to_json(item.conceptKeywordsURI)
    return make_entity_row(
        "CFItem", item, keywords=keywords, has_added_container_link=has_added_container_link
    )


def _make_association_row(association: CFAssociation, document_link: LinkURI) -> EntityRow:
    """Create the ``EntityRow`` of an association, setting its CFDocumentURI if it has none.

    ``document_link`` is the link to set.
    """
    if has_added_container_link := association.CFDocumentURI is None:
        association.CFDocumentURI = document_link
    return make_entity_row(
        "CFAssociation", association, has_added_container_link=has_added_container_link
    )


def _to_json(value: object) -> str | None:
    return None if value is None else to_json(value).decode()


def find_package_identifier_problem(package: IdentifiedCFPackage) -> Iterator[Problem]:
    """Yield a ``Problem`` if ``identifier`` belongs to neither the package nor its document.

    The CFPackageURI of the document contains the package's identifier. The document's identifier is
    accepted in its place because some responses of this server contain it there.
    """
    document = package.CFDocument
    expected = document.CFPackageURI.identifier if document.CFPackageURI else document.identifier
    if package.identifier not in (None, expected, document.identifier):
        message = f"must be the identifier of the package, {expected!r}, or of its document"
        yield Problem(path="identifier", message=message)


def _find_duplicates(
    namespaces: Sequence[IdentifierNamespace], keys: Sequence[tuple[str, AssociationKey]]
) -> Iterator[Problem]:
    """Yield a ``Problem`` for each identifier and association that occurs twice in a package.

    All identifiers must differ within a namespace, which is a list of (path, identifiers) pairs
    such as ``[("CFItems", ["id-1", "id-2"])]``. ``keys`` contains (identifier, (origin,
    destination, type)) of each association, in package order.
    """
    # Sets first, because most packages have no duplicates, and sets show that fastest.
    for namespace in namespaces:
        names = [name for _, identifiers in namespace for name in identifiers]
        if len({*names}) < len(names):
            yield from _find_duplicate_identifiers(namespace)
    if len({key for _, key in keys}) < len(keys):
        yield from _find_duplicate_associations(keys)


def _add_rubric_identifiers(
    rubric: CFRubric, index: int, criteria: IdentifierNamespace, levels: IdentifierNamespace
) -> None:
    """Add a rubric's criteria to the namespace ``criteria``, and their levels to ``levels``.

    ``index`` is the position of the rubric in the package.
    """
    members = rubric.CFRubricCriteria or []
    path = f"CFRubrics[{index}].CFRubricCriteria"
    criteria.append((path, [criterion.identifier for criterion in members]))
    for position, criterion in enumerate(members):
        identifiers = [level.identifier for level in criterion.CFRubricCriterionLevels or ()]
        levels.append((f"{path}[{position}].CFRubricCriterionLevels", identifiers))


def _find_duplicate_identifiers(namespace: IdentifierNamespace) -> Iterator[Problem]:
    first_paths: dict[str, str] = {}
    for list_path, identifiers in namespace:
        for index, identifier in enumerate(identifiers):
            path = f"{list_path}[{index}]"
            first_path = first_paths.setdefault(identifier, path)
            if first_path != path:
                message = f"{identifier} is already the identifier of {first_path}"
                yield Problem(path=f"{path}.identifier", message=message)


def _find_duplicate_associations(keys: Iterable[tuple[str, AssociationKey]]) -> Iterator[Problem]:
    seen: dict[AssociationKey, tuple[int, str]] = {}
    for index, (identifier, key) in enumerate(keys):
        first_index, first_identifier = seen.setdefault(key, (index, identifier))
        if first_index != index and first_identifier != identifier:
            message = (
                f"{identifier} has the origin, destination and type of "
                f"CFAssociations[{first_index}] ({first_identifier})"
            )
            yield Problem(path=f"CFAssociations[{index}]", message=message)
