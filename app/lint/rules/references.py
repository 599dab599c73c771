"""Rules about what refers to what: nodes elsewhere, definitions, documents, rubrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...case.resources import CONCEPTS, GROUPINGS, ITEM_TYPES, LICENSES, SUBJECTS
from ...repair.repair_log import Json
from ..package_index import (
    CHILD_OF,
    Node,
    PackageIndex,
    get_link_identifiers,
    get_objects,
    get_string,
    get_strings,
)
from ..violation import Match

LINK_FIELDS = {
    "CFItemTypeURI": ITEM_TYPES.name,
    "subjectURI": SUBJECTS.name,
    "conceptKeywordsURI": CONCEPTS.name,
    "licenseURI": LICENSES.name,
    "CFAssociationGroupingURI": GROUPINGS.name,
}
"""Fields that link to definitions, and to which kind."""

NAME_FIELDS = {
    "CFItemType": ITEM_TYPES.name,
    "subject": SUBJECTS.name,
    "conceptKeywords": CONCEPTS.name,
}
"""Fields that name a definition by its title or code."""

REDUNDANT_LINK_FIELDS = {
    "CFDocument": "CFPackageURI",
    "CFItem": "CFDocumentURI",
    "CFAssociation": "CFDocumentURI",
}
"""Links that an entity has only when it stands alone (CASE 1.1 binding, CFPckg classes)."""


def external_references(index: PackageIndex) -> Iterator[Match]:
    """Ends of associations that lie elsewhere; those of the tree have a rule of their own."""
    for edge in index.edges:
        for field, end in (
            ("originNodeURI", edge.origin),
            ("destinationNodeURI", edge.destination),
        ):
            (link,) = get_objects(edge.node.body, field)[:1]
            foreign = (get_string(link, "targetType") or "").startswith("ext:")
            if edge.type != CHILD_OF and end not in index.by_identifier and not foreign:
                yield Match(edge.node, field, f"nothing in this package has the identifier {end}")


def undefined_links(index: PackageIndex) -> Iterator[Match]:
    """Links to definitions that are not here, each definition once."""
    first: dict[tuple[str, str], Node] = {}
    times: Counter[tuple[str, str]] = Counter()
    for node in index.of_kind("CFDocument", "CFItem", "CFAssociation"):
        for field in LINK_FIELDS.keys() & node.body.keys():
            for identifier in get_link_identifiers(node.body, field):
                if identifier not in index.by_identifier:
                    first.setdefault((field, identifier), node)
                    times[field, identifier] += 1
    for (field, identifier), node in first.items():
        count = times[field, identifier]
        message = (
            f"CFDefinitions has no {LINK_FIELDS[field]} {identifier}, to which {count:,} "
            f"{'links lead' if count > 1 else 'link leads'}"
        )
        yield Match(node, field, message)


def unused_definitions(index: PackageIndex) -> Iterator[Match]:
    """Definitions that nothing links to or names, nor to those below them."""
    users = index.of_kind("CFDocument", "CFItem", "CFAssociation")
    links = {
        one
        for node in users
        for field in LINK_FIELDS
        for one in get_link_identifiers(node.body, field)
    }
    named = {
        (kind, name)
        for node in users
        for field, kind in NAME_FIELDS.items()
        for name in get_strings(node.body, field)
    }
    used = [one for one in index.definitions if one.identifier in links or _names(one) & named]
    codes = {(one.kind, prefix) for one in used for prefix in _prefixes(one.body)}
    kept = {id(one) for one in used}
    for one in index.definitions:
        if (
            id(one) not in kept
            and (one.kind, get_string(one.body, "hierarchyCode") or None) not in codes
        ):
            yield Match(one, "", f"nothing refers to the {one.kind} {_title(one)}")


def _names(definition: Node) -> set[tuple[str, str]]:
    found = (get_string(definition.body, name) for name in ("title", "typeCode", "hierarchyCode"))
    return {(definition.kind, name) for name in found if name}


def _prefixes(body: Json) -> list[str]:
    """The codes above a definition: A and A.1 for A.1.b."""
    code = get_string(body, "hierarchyCode") or ""
    return [code[:end] for end, character in enumerate(code) if not character.isalnum()]


def _title(definition: Node) -> str:
    return repr(get_string(definition.body, "title") or definition.identifier or "")


def document_mismatches(index: PackageIndex) -> Iterator[Match]:
    """Items and associations that say they are of another document."""
    root = index.document
    for node in index.of_kind("CFItem", "CFAssociation") if root and root.identifier else ():
        for identifier in get_link_identifiers(node.body, "CFDocumentURI"):
            if root and identifier != root.identifier:
                message = f"names the document {identifier}, but this is {root.identifier}"
                yield Match(node, "CFDocumentURI", message)


def redundant_links(index: PackageIndex) -> Iterator[Match]:
    """Links to what contains an entity, which its package makes needless; each kind once."""
    for kind, field in REDUNDANT_LINK_FIELDS.items():
        found = [node for node in index.of_kind(kind) if field in node.body]
        if found:
            message = f"{len(found):,} {kind} with a {field}, which has no place in a package"
            yield Match(found[0], field, message)


def rubric_references(index: PackageIndex) -> Iterator[Match]:
    """Criteria and levels that name another parent than the one they stand in, or no item."""
    nodes = {
        id(node.body): node for node in index.of_kind("CFRubricCriterion", "CFRubricCriterionLevel")
    }
    items = {node.identifier for node in index.of_kind("CFItem")}
    for rubric in index.of_kind("CFRubric"):
        for criterion in get_objects(rubric.body, "CFRubricCriteria"):
            node = nodes[id(criterion)]
            yield from _wrong_parent(node, "rubricId", rubric)
            for identifier in get_link_identifiers(criterion, "CFItemURI"):
                if identifier not in items:
                    message = f"no item of this package has the identifier {identifier}"
                    yield Match(node, "CFItemURI", message)
            for level in get_objects(criterion, "CFRubricCriterionLevels"):
                yield from _wrong_parent(nodes[id(level)], "rubricCriterionId", node)


def _wrong_parent(node: Node, field: str, parent: Node) -> Iterator[Match]:
    said = get_string(node.body, field)
    if said is not None and parent.identifier is not None and said != parent.identifier:
        yield Match(node, field, f"names {said}, but stands in {parent.identifier}")
