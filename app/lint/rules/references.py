"""Rules about what refers to what: nodes elsewhere, definitions, documents, rubrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...case.resources import CONCEPTS, GROUPINGS, ITEM_TYPES, LICENSES, SUBJECTS
from ...repair.repair_log import Json
from ..package_index import CHILD, Facts, Node, linked, objects, text, texts
from ..violation import Hit

LINKS = {
    "CFItemTypeURI": ITEM_TYPES.name,
    "subjectURI": SUBJECTS.name,
    "conceptKeywordsURI": CONCEPTS.name,
    "licenseURI": LICENSES.name,
    "CFAssociationGroupingURI": GROUPINGS.name,
}
"""Fields that link to definitions, and to which kind."""

NAMES = {
    "CFItemType": ITEM_TYPES.name,
    "subject": SUBJECTS.name,
    "conceptKeywords": CONCEPTS.name,
}
"""Fields that name a definition by its title or code."""

PACKAGED = {
    "CFDocument": "CFPackageURI",
    "CFItem": "CFDocumentURI",
    "CFAssociation": "CFDocumentURI",
}
"""Links that an entity has only when it stands alone (CASE 1.1 binding, CFPckg classes)."""


def outside_nodes(facts: Facts) -> Iterator[Hit]:
    """Ends of associations that lie elsewhere; those of the tree have a rule of their own."""
    for edge in facts.edges:
        for field, end in (
            ("originNodeURI", edge.origin),
            ("destinationNodeURI", edge.destination),
        ):
            (link,) = objects(edge.node.body, field)[:1]
            foreign = (text(link, "targetType") or "").startswith("ext:")
            if edge.type != CHILD and end not in facts.known and not foreign:
                yield Hit(edge.node, field, f"nothing in this package has the identifier {end}")


def undefined_links(facts: Facts) -> Iterator[Hit]:
    """Links to definitions that are not here, each definition once."""
    first: dict[tuple[str, str], Node] = {}
    times: Counter[tuple[str, str]] = Counter()
    for node in facts.of("CFDocument", "CFItem", "CFAssociation"):
        for field in LINKS.keys() & node.body.keys():
            for identifier in linked(node.body, field):
                if identifier not in facts.known:
                    first.setdefault((field, identifier), node)
                    times[field, identifier] += 1
    for (field, identifier), node in first.items():
        count = times[field, identifier]
        message = (
            f"CFDefinitions has no {LINKS[field]} {identifier}, to which {count:,} "
            f"{'links lead' if count > 1 else 'link leads'}"
        )
        yield Hit(node, field, message)


def unused_definitions(facts: Facts) -> Iterator[Hit]:
    """Definitions that nothing links to or names, nor to those below them."""
    users = facts.of("CFDocument", "CFItem", "CFAssociation")
    links = {one for node in users for field in LINKS for one in linked(node.body, field)}
    named = {
        (kind, name)
        for node in users
        for field, kind in NAMES.items()
        for name in texts(node.body, field)
    }
    used = [one for one in facts.definitions if one.identifier in links or _names(one) & named]
    codes = {(one.kind, prefix) for one in used for prefix in _prefixes(one.body)}
    kept = {id(one) for one in used}
    for one in facts.definitions:
        if id(one) not in kept and (one.kind, text(one.body, "hierarchyCode") or None) not in codes:
            yield Hit(one, "", f"nothing refers to the {one.kind} {_title(one)}")


def _names(definition: Node) -> set[tuple[str, str]]:
    found = (text(definition.body, name) for name in ("title", "typeCode", "hierarchyCode"))
    return {(definition.kind, name) for name in found if name}


def _prefixes(body: Json) -> list[str]:
    """The codes above a definition: A and A.1 for A.1.b."""
    code = text(body, "hierarchyCode") or ""
    return [code[:end] for end, character in enumerate(code) if not character.isalnum()]


def _title(definition: Node) -> str:
    return repr(text(definition.body, "title") or definition.identifier or "")


def other_documents(facts: Facts) -> Iterator[Hit]:
    """Items and associations that say they are of another document."""
    root = facts.document
    for node in facts.of("CFItem", "CFAssociation") if root and root.identifier else ():
        for identifier in linked(node.body, "CFDocumentURI"):
            if root and identifier != root.identifier:
                message = f"names the document {identifier}, but this is {root.identifier}"
                yield Hit(node, "CFDocumentURI", message)


def stand_alone_links(facts: Facts) -> Iterator[Hit]:
    """Links to what contains an entity, which its package makes needless; each kind once."""
    for kind, field in PACKAGED.items():
        found = [node for node in facts.of(kind) if field in node.body]
        if found:
            message = f"{len(found):,} {kind} with a {field}, which has no place in a package"
            yield Hit(found[0], field, message)


def rubric_links(facts: Facts) -> Iterator[Hit]:
    """Criteria and levels that name another parent than the one they stand in, or no item."""
    nodes = {
        id(node.body): node for node in facts.of("CFRubricCriterion", "CFRubricCriterionLevel")
    }
    items = {node.identifier for node in facts.of("CFItem")}
    for rubric in facts.of("CFRubric"):
        for criterion in objects(rubric.body, "CFRubricCriteria"):
            node = nodes[id(criterion)]
            yield from _wrong_parent(node, "rubricId", rubric)
            for identifier in linked(criterion, "CFItemURI"):
                if identifier not in items:
                    message = f"no item of this package has the identifier {identifier}"
                    yield Hit(node, "CFItemURI", message)
            for level in objects(criterion, "CFRubricCriterionLevels"):
                yield from _wrong_parent(nodes[id(level)], "rubricCriterionId", node)


def _wrong_parent(node: Node, field: str, parent: Node) -> Iterator[Hit]:
    said = text(node.body, field)
    if said is not None and parent.identifier is not None and said != parent.identifier:
        yield Hit(node, field, f"names {said}, but stands in {parent.identifier}")
