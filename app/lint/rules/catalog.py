"""All lint rules, most severe first."""

from __future__ import annotations

from functools import partial

from ..violation import SEVERITIES, Rule
from . import fields, references, tree

_error, _warning, _note = (partial(Rule, severity) for severity in SEVERITIES)

JSON = _error("json", "The file is not a JSON object.", "REST/JSON binding")
SCHEMA = _error(
    "schema",
    "A field violates the schema: missing, wrong type, unknown, or null.",
    "REST/JSON binding, data model",
)
NONSTANDARD_NAME = _warning(
    "nonstandard-name",
    "case-server understands this spelling, but the standard requires another one.",
    "REST/JSON binding, data model",
)
FILE_FORMAT = _warning(
    "file-format",
    "Import reads rows or cells otherwise than they are written, or leaves them out.",
    "none: spreadsheets are a format of case-server",
)

RULES = (
    JSON,
    SCHEMA,
    _error(
        "duplicate-identifier",
        "Two entities share an identifier, so references to it are ambiguous.",
        "identifier",
        fields.find_duplicate_identifiers,
    ),
    _error(
        "duplicate-association",
        "Two associations have the same type, origin and destination.",
        "CFAssociation",
        fields.find_duplicate_associations,
    ),
    _error(
        "self-association",
        "An association leads from a node to itself.",
        "CFAssociation.destinationNodeURI",
        tree.find_self_loops,
    ),
    _error(
        "cycle",
        "isChildOf associations form a cycle, so the items are not a tree.",
        "CFAssociation.associationType, isChildOf",
        tree.find_cycles,
    ),
    _error(
        "document-as-child",
        "The document is a child of a node, although it is the root of the tree.",
        "CFAssociation.associationType, isChildOf",
        tree.find_documents_used_as_children,
    ),
    NONSTANDARD_NAME,
    FILE_FORMAT,
    _warning(
        "unknown-parent",
        "An isChildOf association refers to a node outside the package, so its branch is lost.",
        "CFAssociation.associationType, isChildOf",
        tree.find_dangling_tree_edges,
    ),
    _warning(
        "orphan",
        "An item has no parent (isChildOf), so it does not appear in tree views.",
        "CFAssociation.associationType, isChildOf",
        tree.find_orphans,
    ),
    _warning(
        "multiple-parents",
        "An item has several parents, but should have one place in the tree.",
        "implementation guide, CFItem",
        tree.find_nodes_with_several_parents,
    ),
    _warning(
        "duplicate-sequence-number",
        "Siblings have the same sequenceNumber, so their order is undefined.",
        "CFAssociation.sequenceNumber",
        tree.find_duplicate_sequence_numbers,
    ),
    _warning(
        "identifier-not-uuid",
        "The identifier is not a UUID in the standard's notation.",
        "identifier",
        fields.find_nonconformant_identifiers,
    ),
    _warning(
        "duplicate-code",
        "Two items have the same humanCodingScheme, by which people identify them.",
        "CFItem.humanCodingScheme",
        fields.find_duplicate_codes,
    ),
    _warning(
        "empty-statement",
        "The fullStatement of an item is empty.",
        "CFItem.fullStatement",
        fields.find_empty_statements,
    ),
    _warning(
        "invalid-date-range",
        "The statusEndDate is before the statusStartDate.",
        "statusStartDate, statusEndDate",
        fields.find_invalid_date_ranges,
    ),
    _warning(
        "document-mismatch",
        "An entity refers to another document than that of its package.",
        "CFDocumentURI",
        references.find_document_mismatches,
    ),
    _warning(
        "rubric-reference",
        "A part of a rubric refers to another parent than its own, or to an unknown item.",
        "CFRubricCriterion, CFRubricCriterionLevel",
        references.find_rubric_reference_errors,
    ),
    _warning(
        "language",
        "The language is not a BCP 47 tag, so programs cannot identify it.",
        "language",
        fields.find_invalid_languages,
    ),
    _note(
        "external-reference",
        "An association other than isChildOf refers to a node outside the package (allowed).",
        "CFAssociation.originNodeURI, destinationNodeURI",
        references.find_external_associations,
    ),
    _note(
        "undefined-link",
        "A link refers to a definition that CFDefinitions lacks; servers create it from the link.",
        "CFPackage.CFDefinitions",
        references.find_links_to_missing_definitions,
    ),
    _note(
        "unused-definition",
        "Nothing in the package refers to a definition.",
        "CFPackage.CFDefinitions",
        references.find_unused_definitions,
    ),
    _note(
        "redundant-link",
        "An entity in a package links to its document or package; strict readers reject that.",
        "REST/JSON binding, CFPckg classes",
        references.find_redundant_links,
    ),
    _note(
        "uri-without-identifier",
        "The uri does not contain the identifier, so it may be that of another entity.",
        "uri",
        fields.find_uri_mismatches,
    ),
    _note(
        "missing-sequence-number",
        "Some siblings have a sequenceNumber, and others do not.",
        "CFAssociation.sequenceNumber",
        tree.find_missing_sequence_numbers,
    ),
    _note(
        "duplicate-statement",
        "Two items with the same parent have the same fullStatement.",
        "CFItem.fullStatement",
        tree.find_duplicate_statements,
    ),
    _note(
        "education-level",
        "The education level is not one of the common CEDS codes.",
        "CFItem.educationLevel",
        fields.find_unknown_education_levels,
    ),
)

BY_ID = {rule.id: rule for rule in RULES}

STRUCTURAL_RULES = tuple(
    BY_ID[name]
    for name in (
        *("self-association", "cycle", "document-as-child"),
        *("unknown-parent", "orphan", "duplicate-code"),
    )
)
"""The rules that import applies, too: it stores what violates them, and warns."""
