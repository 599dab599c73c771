"""A CFPackage taken apart into rows to store, and the checks that need the whole of it.

A row is one entity with its body in the standard's own form: JSON without nulls, fields in the
order of the model, links to the document filled in (CASE 1.1 binding, CFPckg classes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple, TypeAlias

from pydantic_core import to_json

from ..exceptions import Problem
from .model import (
    CFAssociation,
    CFPackage,
    CFPckgDocument,
    CFPckgItem,
    CFRubric,
    Entity,
    LinkURI,
)
from .parsing import parse
from .problems import Problems
from .resources import DEFINITIONS
from .types import Identifier, Omittable
from .vocabulary import UNKNOWN_ITEM_TYPE

IdentifierLists: TypeAlias = Sequence[tuple[str, Sequence[str]]]
"""Lists by their paths, each with the identifiers of its members."""

RelationKey: TypeAlias = tuple[str, str, str]

CriterionIdentifiers: TypeAlias = Sequence[tuple[str, Sequence[str]]]
"""The identifier of each criterion of a rubric, with those of its levels."""

CHILDREN = {"CFRubricCriteria", "CFRubricCriterionLevels"}
"""Fields whose entities are rows of their own; an empty list stays in the body."""

KEYWORDS = {"conceptKeywordsURI"}
"""A field written as a list and answered as its last member."""


class EntityRow(NamedTuple):
    """One entity, ready to store."""

    kind: str
    identifier: str
    body: str
    last_change_date_time: datetime
    keywords: str | None = None
    """JSON list of every concept an item links to; its body holds the last one."""
    parent: str | None = None
    """The rubric of a criterion, the criterion of a level."""
    is_home_derived: bool = False
    """Whether an item or association was sent without the link to its document that its body
    holds, or a document without the link to its package."""


@dataclass(frozen=True)
class Package:
    """A package taken apart."""

    document_identifier: str
    package_identifier: str
    extensions: str | None
    definition_extensions: str | None
    rows: Iterable[EntityRow]
    """They can be gone through more than once."""
    has_package_link: bool = True
    """Whether the document has a CFPackageURI; else its stored one stays."""
    derived_items: tuple[str, ...] = ()
    """The identifiers of items that were made from codes or statements, because the spreadsheet
    gave none."""
    derived_times: frozenset[tuple[str, str]] = frozenset()
    """(kind, identifier) of the entities whose time of change the spreadsheet did not give."""
    derived_order: tuple[tuple[str, ...], ...] = ()
    """The associations of siblings whose sequence numbers were made from the order of their rows,
    in that order."""
    identifier_source: str | None = None
    """What the document's identifier was made from, in words, when the spreadsheet gave none."""

    def count(self, kind: str) -> int:
        """How many entities of a kind it holds."""
        return Counter(row.kind for row in self.rows)[kind]


class NamedCFPackage(CFPackage):
    """A package that says its own identifier, as TimeBack's APIs answer it."""

    identifier: Omittable[Identifier] = None


class UploadedCFPackage(NamedCFPackage):
    """A package in a request to CFPackages, which must contain its items and associations.

    The vendor's OpenAPI requires both. A missing one would mean that all are to be deleted, which
    a client says with an empty array.
    """

    CFItems: list[CFPckgItem]
    CFAssociations: list[CFAssociation]


def parse_package(
    raw: bytes, *, allow_dense: bool = False, schema: type[NamedCFPackage] = NamedCFPackage
) -> Package:
    """Read and take apart an uploaded CFPackage, bare or wrapped, as a whole.

    Raises ``TooLarge`` for one that is denser than an entity may be, unless ``allow_dense``;
    ``BadRequest`` or ``InvalidData`` with every problem, as ``reading.read`` does.
    """
    package = parse(schema, raw, ("CFPackage", "package"), allow_dense=allow_dense).entity
    triples = ((one.identifier, relation_key(one)) for one in package.CFAssociations)
    problems = Problems()
    for problem in (
        *check_package_identifier(package),
        *find_duplicates(identifier_lists(package), triples),
    ):
        problems.add(**problem)
    if problems:
        raise problems.to_exception("CFPackage")
    return to_rows(package)


def to_rows(package: CFPackage) -> Package:
    """The rows of a valid package."""
    document = package.CFDocument
    named = document.CFPackageURI
    return Package(
        document_identifier=document.identifier,
        package_identifier=named.identifier if named else document.identifier,
        extensions=_json(package.extensions),
        definition_extensions=_json(package.CFDefinitions.extensions),
        rows=list(_rows(package)),
        has_package_link=named is not None,
    )


def _rows(package: CFPackage) -> Iterator[EntityRow]:
    document = package.CFDocument
    is_home_derived = document.CFPackageURI is None
    yield entity_row("CFDocument", document)._replace(is_home_derived=is_home_derived)
    link = document_link(document)
    for resource in DEFINITIONS:
        for definition in getattr(package.CFDefinitions, resource.plural):
            yield entity_row(resource.name, definition)
    for item in package.CFItems:
        yield item_row(item, link)
    for association in package.CFAssociations:
        yield association_row(association, link)
    for rubric in package.CFRubrics:
        yield from rubric_rows(rubric)


def document_link(document: CFPckgDocument) -> LinkURI:
    """The link that a document's parts have to it."""
    return LinkURI(title=document.title, identifier=document.identifier, uri=document.uri)


def rubric_rows(rubric: CFRubric) -> Iterator[EntityRow]:
    """Return the rows of a rubric, its criteria and their levels."""
    yield entity_row("CFRubric", rubric)
    for criterion in rubric.CFRubricCriteria or ():
        yield entity_row("CFRubricCriterion", criterion, parent=rubric.identifier)
        for level in criterion.CFRubricCriterionLevels or ():
            yield entity_row("CFRubricCriterionLevel", level, parent=criterion.identifier)


def entity_row(kind: str, entity: Entity, parent: str | None = None) -> EntityRow:
    """An entity as a row, without the entities it contains."""
    own = set()
    for name in _left_out(type(entity)):
        value = getattr(entity, name)
        # No link at all is a field left out, not one that is null.
        if value if name in CHILDREN else value == []:
            own.add(name)
    body = entity.model_dump_json(exclude_none=True, exclude=own or None)
    return EntityRow(kind, entity.identifier, body, entity.lastChangeDateTime, parent=parent)


@cache
def _left_out(kind: type[Entity]) -> tuple[str, ...]:
    """The fields of a class that may have to be left out of its body."""
    return tuple(name for name in (*CHILDREN, *KEYWORDS) if name in kind.model_fields)


def item_row(item: CFPckgItem, home: LinkURI | None = None) -> EntityRow:
    """Return an item as a row, with every concept it was sent with, and the link to its document.

    ``home`` is that link in a package. "unknown" is what some profiles answer as the type of an
    item without one.
    """
    if item.CFItemType == UNKNOWN_ITEM_TYPE and item.CFItemTypeURI is None:
        item.CFItemType = None
    is_home_derived = item.CFDocumentURI is None
    item.CFDocumentURI = item.CFDocumentURI or home
    keywords = _json(item.conceptKeywordsURI)
    return entity_row("CFItem", item)._replace(keywords=keywords, is_home_derived=is_home_derived)


def association_row(association: CFAssociation, home: LinkURI) -> EntityRow:
    """Return an association of a package as a row, with the link to its document."""
    is_home_derived = association.CFDocumentURI is None
    association.CFDocumentURI = association.CFDocumentURI or home
    return entity_row("CFAssociation", association)._replace(is_home_derived=is_home_derived)


def _json(value: object) -> str | None:
    return None if value is None else to_json(value).decode()


def check_package_identifier(package: NamedCFPackage) -> Iterator[Problem]:
    """An answer of this server names its package, or its document; nothing else may be said."""
    document = package.CFDocument
    named = document.CFPackageURI.identifier if document.CFPackageURI else document.identifier
    if package.identifier not in (None, named, document.identifier):
        message = f"is not the identifier of the package, {named!r}, nor of its document"
        yield Problem(path="identifier", message=message)


def relation_key(one: CFAssociation) -> RelationKey:
    """What may stand but once in a package."""
    return one.originNodeURI.identifier, one.destinationNodeURI.identifier, one.associationType


def find_duplicates(
    groups: Iterable[IdentifierLists], triples: Iterable[tuple[str, RelationKey]]
) -> Iterator[Problem]:
    """Identifiers that stand twice in a group, and triples that two associations have.

    ``triples`` has the identifier and triple of each association, in their order.
    """
    for group in groups:
        yield from _repeated_identifiers(group)
    yield from _repeated_triples(triples)


def identifier_lists(package: CFPackage) -> Iterator[IdentifierLists]:
    """The lists, with their paths, in which an identifier may stand but once."""
    yield [("CFItems", _named(package.CFItems))]
    yield [("CFAssociations", _named(package.CFAssociations))]
    for kind in DEFINITIONS:
        definitions = getattr(package.CFDefinitions, kind.plural)
        yield [(f"CFDefinitions.{kind.plural}", _named(definitions))]
    yield [("CFRubrics", _named(package.CFRubrics))]
    yield from rubric_identifier_lists(
        [criterion_identifiers(rubric) for rubric in package.CFRubrics]
    )


def criterion_identifiers(rubric: CFRubric) -> CriterionIdentifiers:
    """Return the identifier of each criterion of a rubric, with those of its levels."""
    return [
        (criterion.identifier, _named(criterion.CFRubricCriterionLevels or []))
        for criterion in rubric.CFRubricCriteria or []
    ]


def rubric_identifier_lists(rubrics: Sequence[CriterionIdentifiers]) -> Iterator[IdentifierLists]:
    """The lists of criteria and of levels in rubrics, in which an identifier may stand but once."""
    criteria = [
        (f"CFRubrics[{index}].CFRubricCriteria", rubric) for index, rubric in enumerate(rubrics)
    ]
    yield [(path, [name for name, _ in group]) for path, group in criteria]
    yield [
        (f"{path}[{index}].CFRubricCriterionLevels", levels)
        for path, group in criteria
        for index, (_, levels) in enumerate(group)
    ]


def _named(entities: Sequence[Entity]) -> list[str]:
    return [one.identifier for one in entities]


def _repeated_identifiers(group: IdentifierLists) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for path, identifiers in group:
        for index, identifier in enumerate(identifiers):
            here = f"{path}[{index}]"
            first = seen.setdefault(identifier, here)
            if first != here:
                message = f"{identifier} is already the identifier of {first}"
                yield Problem(path=f"{here}.identifier", message=message)


def _repeated_triples(triples: Iterable[tuple[str, RelationKey]]) -> Iterator[Problem]:
    seen: dict[RelationKey, tuple[int, str]] = {}
    for index, (named, triple) in enumerate(triples):
        first, identifier = seen.setdefault(triple, (index, named))
        if first != index and identifier != named:
            message = (
                f"{named} has the origin, destination and type of "
                f"CFAssociations[{first}] ({identifier})"
            )
            yield Problem(path=f"CFAssociations[{index}]", message=message)
