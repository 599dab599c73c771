"""The register of rules: one entry each, gravest first."""

from __future__ import annotations

from ..violation import Rule
from . import fields, references, tree

JSON = Rule("json", "error", "The file is not a JSON object.", "REST/JSON binding")
SCHEMA = Rule(
    "schema",
    "error",
    "A field is not as the standard has it: missing, of the wrong type, unknown or null.",
    "REST/JSON binding, data model",
)
NONSTANDARD_NAME = Rule(
    "dialect",
    "warning",
    "The standard spells this otherwise; case-server understands it, others may not.",
    "REST/JSON binding, data model",
)

RULES = (
    JSON,
    SCHEMA,
    Rule(
        "duplicate-identifier",
        "error",
        "Two entities have one identifier, so that a link to it has no clear end.",
        "identifier",
        fields.duplicate_identifiers,
    ),
    Rule(
        "duplicate-association",
        "error",
        "Two associations say the same of the same nodes.",
        "CFAssociation",
        fields.duplicate_associations,
    ),
    Rule(
        "self-association",
        "error",
        "An association leads from a node to itself.",
        "CFAssociation.destinationNodeURI",
        tree.self_associations,
    ),
    Rule(
        "cycle",
        "error",
        "Following isChildOf leads back to where it began, so that there is no tree.",
        "CFAssociation.associationType, isChildOf",
        tree.cycles,
    ),
    Rule(
        "document-as-child",
        "error",
        "The document is the root: nothing is above it.",
        "CFAssociation.associationType, isChildOf",
        tree.documents_as_children,
    ),
    NONSTANDARD_NAME,
    Rule(
        "unknown-parent",
        "warning",
        "An isChildOf leads from or to what is not in the package, so that its branch is lost.",
        "CFAssociation.associationType, isChildOf",
        tree.unknown_parents,
    ),
    Rule(
        "orphan",
        "warning",
        "An item hangs nowhere: it is not shown where frameworks are shown as trees.",
        "CFAssociation.associationType, isChildOf",
        tree.orphans,
    ),
    Rule(
        "several-parents",
        "warning",
        "An item hangs in several places, while an item belongs in one place of the tree.",
        "implementation guide, CFItem",
        tree.multiple_parents,
    ),
    Rule(
        "sequence-tie",
        "warning",
        "Siblings have the same sequenceNumber, so that their order is left to chance.",
        "CFAssociation.sequenceNumber",
        tree.duplicate_sequence_numbers,
    ),
    Rule(
        "identifier-not-uuid",
        "warning",
        "The identifier is not a UUID as the standard writes it.",
        "identifier",
        fields.odd_identifiers,
    ),
    Rule(
        "duplicate-code",
        "warning",
        "Two items have one humanCodingScheme, by which people know them.",
        "CFItem.humanCodingScheme",
        fields.duplicate_codes,
    ),
    Rule(
        "empty-statement",
        "warning",
        "An item says nothing.",
        "CFItem.fullStatement",
        fields.empty_statements,
    ),
    Rule(
        "date-order",
        "warning",
        "The statusEndDate is before the statusStartDate.",
        "statusStartDate, statusEndDate",
        fields.invalid_date_ranges,
    ),
    Rule(
        "other-document",
        "warning",
        "An entity names another document than that of its package.",
        "CFDocumentURI",
        references.document_mismatches,
    ),
    Rule(
        "rubric-link",
        "warning",
        "A rubric's part names another parent than its own, or an item that is not here.",
        "CFRubricCriterion, CFRubricCriterionLevel",
        references.rubric_references,
    ),
    Rule(
        "language",
        "warning",
        "The language is not a BCP 47 tag, by which programs know languages.",
        "language",
        fields.odd_languages,
    ),
    Rule(
        "outside-node",
        "note",
        "An association other than isChildOf has an end outside the package, which is allowed.",
        "CFAssociation.originNodeURI, destinationNodeURI",
        references.external_references,
    ),
    Rule(
        "undefined-link",
        "note",
        "A link leads to a definition that CFDefinitions lacks; servers make one of the link.",
        "CFPackage.CFDefinitions",
        references.undefined_links,
    ),
    Rule(
        "unused-definition",
        "note",
        "Nothing in the package refers to a definition.",
        "CFPackage.CFDefinitions",
        references.unused_definitions,
    ),
    Rule(
        "package-link",
        "note",
        "Inside a package entities have no link to what contains them; strict readers refuse it.",
        "REST/JSON binding, CFPckg classes",
        references.redundant_links,
    ),
    Rule(
        "uri-without-identifier",
        "note",
        "The uri does not contain the identifier, so that it may be the address of another entity.",
        "uri",
        fields.foreign_uris,
    ),
    Rule(
        "sequence-missing",
        "note",
        "Some siblings have a sequenceNumber and others have none.",
        "CFAssociation.sequenceNumber",
        tree.missing_sequence_numbers,
    ),
    Rule(
        "duplicate-statement",
        "note",
        "Two items under one parent say the same.",
        "CFItem.fullStatement",
        tree.duplicate_statements,
    ),
    Rule(
        "education-level",
        "note",
        "The education level is not one of the common codes of CEDS.",
        "CFItem.educationLevel",
        fields.odd_levels,
    ),
)

BY_ID = {rule.id: rule for rule in RULES}
