"""Rules for references: external nodes, definitions, documents, rubrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ...case.resources import CONCEPTS, GROUPINGS, ITEM_TYPES, LICENSES, SUBJECTS
from ...case.response_fields import NODE_FIELDS
from ...case.vocabulary import IS_CHILD_OF
from ...repair.repair_log import Json
from ..package_index import Node, PackageIndex, get_link_identifiers, get_string, get_values
from ..violation import Finding

LINK_FIELDS = {
    "CFItemTypeURI": ITEM_TYPES.name,
    "subjectURI": SUBJECTS.name,
    "conceptKeywordsURI": CONCEPTS.name,
    "licenseURI": LICENSES.name,
    "CFAssociationGroupingURI": GROUPINGS.name,
}
"""Fields that link to definitions, and the kind of definition."""

NAME_FIELDS = {
    "CFItemType": ITEM_TYPES.name,
    "subject": SUBJECTS.name,
    "conceptKeywords": CONCEPTS.name,
}
"""Fields that refer to a definition by its title or code."""

REDUNDANT_LINK_FIELDS = {
    "CFDocument": "CFPackageURI",
    "CFItem": "CFDocumentURI",
    "CFAssociation": "CFDocumentURI",
}
"""Links that only stand-alone entities have (CASE 1.1 binding, CFPckg classes)."""


def find_external_associations(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each origin or destination of an association outside the package.

    Skips isChildOf associations, which ``find_dangling_tree_edges`` reports, and nodes outside
    CASE, whose ``targetType`` starts with ``ext:``.
    """
    for edge in index.edges:
        for field, end in zip(NODE_FIELDS, (edge.origin, edge.destination), strict=True):
            (link,) = get_values(edge.node.body, field, dict)[:1]
            is_foreign = (get_string(link, "targetType") or "").startswith("ext:")
            if edge.type != IS_CHILD_OF and end not in index.by_identifier and not is_foreign:
                message = f"no entity of this package has the identifier {end}"
                yield Finding(edge.node, field, message)


def find_links_to_missing_definitions(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each definition that is linked but missing from the package.

    The finding is at the first entity that refers to it.
    """
    users: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in index.get_nodes_by_kind("CFDocument", "CFItem", "CFAssociation"):
        for field in LINK_FIELDS.keys() & node.body.keys():
            for identifier in get_link_identifiers(node.body, field):
                if identifier not in index.by_identifier:
                    users[field, identifier].append(node)
    for (field, identifier), nodes in users.items():
        count = len(nodes)
        links = f"{count:,} {'links refer' if count > 1 else 'link refers'} to it"
        message = f"CFDefinitions has no {LINK_FIELDS[field]} {identifier}; {links}"
        yield Finding(nodes[0], field, message)


def find_unused_definitions(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each definition that no entity refers to.

    A definition also counts as used if a definition below it in the hierarchy is used.
    """
    users = index.get_nodes_by_kind("CFDocument", "CFItem", "CFAssociation")
    linked_identifiers = {
        identifier
        for node in users
        for field in LINK_FIELDS
        for identifier in get_link_identifiers(node.body, field)
    }
    referenced_names = {
        (kind, name)
        for node in users
        for field, kind in NAME_FIELDS.items()
        for name in get_values(node.body, field, str)
    }
    used_definitions = [
        definition
        for definition in index.definitions
        if definition.identifier in linked_identifiers or _get_names(definition) & referenced_names
    ]
    used_ids = {id(definition) for definition in used_definitions}
    parent_codes = {
        (definition.kind, code)
        for definition in used_definitions
        for code in _get_ancestor_codes(definition.body)
    }
    for definition in index.definitions:
        code = get_string(definition.body, "hierarchyCode") or None
        if id(definition) not in used_ids and (definition.kind, code) not in parent_codes:
            title = get_string(definition.body, "title") or definition.identifier or ""
            yield Finding(definition, "", f"nothing refers to the {definition.kind} {title!r}")


def _get_names(definition: Node) -> set[tuple[str, str]]:
    fields = ("title", "typeCode", "hierarchyCode")
    names = (get_string(definition.body, field) for field in fields)
    return {(definition.kind, name) for name in names if name}


def _get_ancestor_codes(body: Json) -> list[str]:
    """Return the hierarchy codes of a definition's ancestors: ``A`` and ``A.1`` for ``A.1.b``."""
    code = get_string(body, "hierarchyCode") or ""
    return [code[:end] for end, char in enumerate(code) if not char.isalnum()]


def find_document_mismatches(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each item or association whose CFDocumentURI is another document's."""
    root = index.document
    if not (root and root.identifier):
        return
    for node in index.get_nodes_by_kind("CFItem", "CFAssociation"):
        for identifier in get_link_identifiers(node.body, "CFDocumentURI"):
            if identifier != root.identifier:
                message = f"refers to the document {identifier}, but this is {root.identifier}"
                yield Finding(node, "CFDocumentURI", message)


def find_redundant_links(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each class of entities with links to their own document or package.

    The finding is at the first such entity and gives their number. The links are redundant, because
    a package contains its entities.
    """
    for kind, field in REDUNDANT_LINK_FIELDS.items():
        nodes = [node for node in index.get_nodes_by_kind(kind) if field in node.body]
        if nodes:
            message = f"{len(nodes):,} {kind} with a {field}, which is redundant in a package"
            yield Finding(nodes[0], field, message)


def find_rubric_reference_errors(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each mistake in the references of rubric criteria and levels.

    A mistake is the identifier of another parent, or a CFItemURI to an item outside the package.
    """
    nodes = {
        id(node.body): node
        for node in index.get_nodes_by_kind("CFRubricCriterion", "CFRubricCriterionLevel")
    }
    items = {node.identifier for node in index.get_nodes_by_kind("CFItem")}
    for rubric in index.get_nodes_by_kind("CFRubric"):
        for criterion in get_values(rubric.body, "CFRubricCriteria", dict):
            node = nodes[id(criterion)]
            yield from _check_parent(node, "rubricId", rubric)
            for identifier in get_link_identifiers(criterion, "CFItemURI"):
                if identifier not in items:
                    message = f"no item of this package has the identifier {identifier}"
                    yield Finding(node, "CFItemURI", message)
            for level in get_values(criterion, "CFRubricCriterionLevels", dict):
                yield from _check_parent(nodes[id(level)], "rubricCriterionId", node)


def _check_parent(node: Node, field: str, parent: Node) -> Iterator[Finding]:
    identifier = get_string(node.body, field)
    if identifier is not None and parent.identifier is not None and identifier != parent.identifier:
        yield Finding(node, field, f"refers to {identifier}, but is part of {parent.identifier}")
