"""All lint rules, most severe first."""

from __future__ import annotations

from ..violation import Rule
from . import fields, references, tree

JSON = Rule("json", "error", "The file is not a JSON object.", "REST/JSON binding")
SCHEMA = Rule(
    "schema",
    "error",
    "A field violates the schema: missing, wrong type, unknown, or null.",
    "REST/JSON binding, data model",
)
NONSTANDARD_NAME = Rule(
    "nonstandard-name",
    "warning",
    "case-server understands this spelling, but the standard requires another one.",
    "REST/JSON binding, data model",
)
FILE_FORMAT = Rule(
    "file-format",
    "warning",
    "Import reads rows or cells otherwise than they are written, or leaves them out.",
    "none: spreadsheets are a format of case-server",
)

RULES = (
    JSON,
    SCHEMA,
    Rule(
        "duplicate-identifier",
        "error",
        "Two entities share an identifier, so references to it are ambiguous.",
        "identifier",
        fields.find_duplicate_identifiers,
    ),
    Rule(
        "duplicate-association",
        "error",
        "Two associations have the same type, origin and destination.",
        "CFAssociation",
        fields.find_duplicate_associations,
    ),
    Rule(
        "self-association",
        "error",
        "An association leads from a node to itself.",
        "CFAssociation.destinationNodeURI",
        tree.find_self_associations,
    ),
    Rule(
        "cycle",
        "error",
        "isChildOf associations form a cycle, so the items are not a tree.",
        "CFAssociation.associationType, isChildOf",
        tree.find_cycles,
    ),
    Rule(
        "document-as-child",
        "error",
        "The document is a child of a node, although it is the root of the tree.",
        "CFAssociation.associationType, isChildOf",
        tree.find_documents_used_as_children,
    ),
    NONSTANDARD_NAME,
    FILE_FORMAT,
    Rule(
        "unknown-parent",
        "warning",
        "An isChildOf association refers to a node outside the package, so its branch is lost.",
        "CFAssociation.associationType, isChildOf",
        tree.find_dangling_tree_edges,
    ),
    Rule(
        "orphan",
        "warning",
        "An item has no parent (isChildOf), so it does not appear in tree views.",
        "CFAssociation.associationType, isChildOf",
        tree.find_orphans,
    ),
    Rule(
        "multiple-parents",
        "warning",
        "An item has several parents, but should have one place in the tree.",
        "implementation guide, CFItem",
        tree.find_nodes_with_several_parents,
    ),
    Rule(
        "duplicate-sequence-number",
        "warning",
        "Siblings have the same sequenceNumber, so their order is undefined.",
        "CFAssociation.sequenceNumber",
        tree.find_duplicate_sequence_numbers,
    ),
    Rule(
        "identifier-not-uuid",
        "warning",
        "The identifier is not a UUID in the standard's notation.",
        "identifier",
        fields.find_nonconformant_identifiers,
    ),
    Rule(
        "duplicate-code",
        "warning",
        "Two items have the same humanCodingScheme, by which people identify them.",
        "CFItem.humanCodingScheme",
        fields.find_duplicate_codes,
    ),
    Rule(
        "empty-statement",
        "warning",
        "The fullStatement of an item is empty.",
        "CFItem.fullStatement",
        fields.find_empty_statements,
    ),
    Rule(
        "invalid-date-range",
        "warning",
        "The statusEndDate is before the statusStartDate.",
        "statusStartDate, statusEndDate",
        fields.find_invalid_date_ranges,
    ),
    Rule(
        "document-mismatch",
        "warning",
        "An entity refers to another document than that of its package.",
        "CFDocumentURI",
        references.find_document_mismatches,
    ),
    Rule(
        "rubric-reference",
        "warning",
        "A part of a rubric refers to another parent than its own, or to an unknown item.",
        "CFRubricCriterion, CFRubricCriterionLevel",
        references.find_rubric_reference_errors,
    ),
    Rule(
        "language",
        "warning",
        "The language is not a BCP 47 tag, so programs cannot identify it.",
        "language",
        fields.find_invalid_languages,
    ),
    Rule(
        "external-reference",
        "note",
        "An association other than isChildOf refers to a node outside the package (allowed).",
        "CFAssociation.originNodeURI, destinationNodeURI",
        references.find_external_references,
    ),
    Rule(
        "undefined-link",
        "note",
        "A link refers to a definition that CFDefinitions lacks; servers create it from the link.",
        "CFPackage.CFDefinitions",
        references.find_links_to_missing_definitions,
    ),
    Rule(
        "unused-definition",
        "note",
        "Nothing in the package refers to a definition.",
        "CFPackage.CFDefinitions",
        references.find_unused_definitions,
    ),
    Rule(
        "redundant-link",
        "note",
        "An entity in a package links to its document or package; strict readers reject that.",
        "REST/JSON binding, CFPckg classes",
        references.find_redundant_links,
    ),
    Rule(
        "uri-without-identifier",
        "note",
        "The uri does not contain the identifier, so it may be that of another entity.",
        "uri",
        fields.find_uri_mismatches,
    ),
    Rule(
        "missing-sequence-number",
        "note",
        "Some siblings have a sequenceNumber, and others do not.",
        "CFAssociation.sequenceNumber",
        tree.find_missing_sequence_numbers,
    ),
    Rule(
        "duplicate-statement",
        "note",
        "Two items with the same parent have the same fullStatement.",
        "CFItem.fullStatement",
        tree.find_duplicate_statements,
    ),
    Rule(
        "education-level",
        "note",
        "The education level is not one of the common CEDS codes.",
        "CFItem.educationLevel",
        fields.find_unknown_education_levels,
    ),
)

BY_ID = {rule.id: rule for rule in RULES}

STRUCTURAL_RULES = tuple(
    BY_ID[name]
    for name in (
        "self-association",
        "cycle",
        "document-as-child",
        "unknown-parent",
        "orphan",
        "duplicate-code",
    )
)
"""The rules that import applies, too: it stores what violates them, and warns."""
