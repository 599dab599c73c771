"""Comment all tables and columns, and add views with a typed column per field.

The views are for people with psql or a BI tool: they show live entities as the standard profile
answers them. Each column is named after its field in snake_case. A link has one column for each of
its members, and a list of links has one array for each. A new field needs a migration that replaces
the view with ``CREATE OR REPLACE VIEW``, the new column last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from alembic import op

revision = "2026_11_27_comments_and_views"
down_revision = "2026_11_21_fewer_indexes"
branch_labels = None
depends_on = None

Columns = dict[str, str]
"""SQL expressions by column name."""


def to_snake_case(field: str) -> str:
    """Return the name of a CASE field in snake_case: CFItemTypeURI becomes cf_item_type_uri."""
    words = re.sub(r"([A-Z]+)([A-Z][a-z])|([a-z0-9])([A-Z])", r"\1\3_\2\4", field)
    return words.lower()


def build_text_columns(*fields: str) -> Columns:
    return {to_snake_case(field): f"body ->> '{field}'" for field in fields}


def build_cast_columns(sql_type: str, *fields: str) -> Columns:
    return {to_snake_case(field): f"(body ->> '{field}')::{sql_type}" for field in fields}


def build_array_expression(field: str, expression: str) -> str:
    """Return SQL that evaluates ``expression`` for each ``element`` of a JSON array.

    It is NULL if the field is not an array.
    """
    is_array = f"json_typeof(body -> '{field}') = 'array'"
    array = f"ARRAY(SELECT {expression} FROM json_array_elements(body -> '{field}') element)"  # noqa: S608  no input
    return f"CASE WHEN {is_array} THEN {array} END"


def build_text_array_columns(*fields: str) -> Columns:
    return {
        to_snake_case(field): build_array_expression(field, "element #>> '{}'") for field in fields
    }


def build_link_columns(field: str, *members: str) -> Columns:
    """Return a column for each member of a link, such as cf_item_type_title of CFItemTypeURI."""
    name = to_snake_case(field.removesuffix("URI"))
    return {
        f"{name}_{to_snake_case(member)}": f"body -> '{field}' ->> '{member}'"
        for member in members or ("title", "identifier", "uri")
    }


def build_link_array_columns(field: str) -> Columns:
    name = to_snake_case(field.removesuffix("URI"))
    return {
        f"{name}_{member}s": build_array_expression(field, f"element ->> '{member}'")
        for member in ("title", "identifier", "uri")
    }


def build_entity_columns(*parts: Columns) -> Columns:
    """Return the view columns that every entity has, plus those of ``parts``."""
    columns = build_text_columns("identifier", "uri")
    for part in parts:
        columns |= part
    changed = {"last_change_date_time": "date_trunc('milliseconds', last_change_date_time)"}
    return columns | changed | {"extensions": "(body -> 'extensions')::jsonb"}


NODE = ("title", "identifier", "uri", "targetType")

# A definition that is known only from links to it lacks some required fields, which are derived
# from its link.
HIERARCHY_CODE = {"hierarchy_code": "COALESCE(body ->> 'hierarchyCode', '')"}
CHANGED = build_cast_columns("timestamptz", "lastChangeDateTime")

# A document uploaded without a CFPackageURI is answered with one that names the document.
CF_PACKAGE = {
    "cf_package_title": "COALESCE(body -> 'CFPackageURI' ->> 'title', body ->> 'title')",
    "cf_package_identifier": "COALESCE(body -> 'CFPackageURI' ->> 'identifier', identifier)",
    "cf_package_uri": "body -> 'CFPackageURI' ->> 'uri'",
}

VIEWS: dict[str, tuple[str, Columns, str]] = {
    "cf_documents": (
        "documents",
        build_entity_columns(
            build_text_columns(
                "frameworkType", "caseVersion", "creator", "title", "officialSourceURL"
            ),
            build_text_columns("publisher", "description"),
            build_text_array_columns("subject"),
            build_link_array_columns("subjectURI"),
            build_text_columns("language", "version", "adoptionStatus"),
            build_cast_columns("date", "statusStartDate", "statusEndDate"),
            build_link_columns("licenseURI"),
            build_text_columns("notes"),
            CF_PACKAGE,
        ),
        "CFDocument: the live frameworks. cf_package_uri is NULL where the server derives it.",
    ),
    "cf_items": (
        "items",
        build_entity_columns(
            build_text_columns(
                "fullStatement", "alternativeLabel", "CFItemType", "humanCodingScheme"
            ),
            build_text_columns("listEnumeration", "abbreviatedStatement"),
            build_text_array_columns("conceptKeywords"),
            build_link_columns("conceptKeywordsURI"),
            build_text_columns("notes"),
            build_text_array_columns("subject"),
            build_link_array_columns("subjectURI"),
            build_text_columns("language"),
            build_text_array_columns("educationLevel"),
            build_link_columns("CFItemTypeURI"),
            build_link_columns("licenseURI"),
            build_cast_columns("date", "statusStartDate", "statusEndDate"),
            build_link_columns("CFDocumentURI"),
        ),
        "CFItem: the live competency statements of all frameworks.",
    ),
    "cf_associations": (
        "associations",
        build_entity_columns(
            build_text_columns("associationType"),
            build_cast_columns("integer", "sequenceNumber"),
            build_link_columns("originNodeURI", *NODE),
            build_link_columns("destinationNodeURI", *NODE),
            build_link_columns("CFAssociationGroupingURI"),
            build_text_columns("notes"),
            build_link_columns("CFDocumentURI"),
        ),
        "CFAssociation: relations whose document and nodes are not deleted.",
    ),
    "cf_concepts": (
        "concepts",
        build_entity_columns(
            build_text_columns("title", "keywords"),
            HIERARCHY_CODE,
            build_text_columns("description"),
        ),
        "CFConcept: live concepts, shared by all frameworks.",
    ),
    "cf_subjects": (
        "subjects",
        build_entity_columns(
            build_text_columns("title"), HIERARCHY_CODE, build_text_columns("description")
        ),
        "CFSubject: live subjects, shared by all frameworks.",
    ),
    "cf_licenses": (
        "licenses",
        build_entity_columns(
            build_text_columns("title", "description"),
            {"license_text": "COALESCE(body ->> 'licenseText', body ->> 'uri')"},
        ),
        "CFLicense: live licences, shared by all frameworks.",
    ),
    "cf_item_types": (
        "item_types",
        build_entity_columns(
            build_text_columns("title"),
            {"description": "COALESCE(body ->> 'description', body ->> 'title')"},
            HIERARCHY_CODE,
            build_text_columns("typeCode"),
        ),
        "CFItemType: live item types, shared by all frameworks.",
    ),
    "cf_association_groupings": (
        "association_groupings",
        build_entity_columns(build_text_columns("title", "description")),
        "CFAssociationGrouping: live groupings, shared by all frameworks.",
    ),
    "cf_rubrics": (
        "rubrics",
        build_entity_columns(build_text_columns("title", "description"))
        | {"cf_document_identifier": "document_identifier"},
        "CFRubric: the live rubrics; their criteria are in cf_rubric_criteria.",
    ),
    "cf_rubric_criteria": (
        "rubric_criteria",
        build_entity_columns(
            build_text_columns("category", "description"),
            build_link_columns("CFItemURI"),
            build_cast_columns("numeric", "weight"),
            build_cast_columns("integer", "position"),
            build_text_columns("rubricId"),
        )
        | CHANGED
        | {"cf_rubric_identifier": "rubric_identifier"},
        "CFRubricCriterion: the criteria of live rubrics.",
    ),
    "cf_rubric_criterion_levels": (
        "rubric_criterion_levels",
        build_entity_columns(
            build_text_columns("description", "quality"),
            build_cast_columns("numeric", "score"),
            build_text_columns("feedback"),
            build_cast_columns("integer", "position"),
            build_text_columns("rubricCriterionId"),
        )
        | CHANGED
        | {"cf_rubric_criterion_identifier": "criterion_identifier"},
        "CFRubricCriterionLevel: the levels of the criteria of live rubrics.",
    ),
    "cf_packages": (
        "packages",
        {
            "identifier": "identifier",
            "cf_document_identifier": "document_identifier",
            "extensions": "extensions::jsonb",
            "cf_definitions_extensions": "definition_extensions::jsonb",
        },
        "CFPackage: one row per live framework.",
    ),
}
"""Table, columns and comment of each view."""

LIVE = "deleted_at IS NULL"
LIVE_DOCUMENT = f"(SELECT identifier FROM documents WHERE {LIVE})"  # noqa: S608  no input
LIVE_RUBRICS = f"rubric_identifier IN (SELECT identifier FROM rubrics WHERE {LIVE})"  # noqa: S608

# A node that was deleted here hides its associations; one that was never stored here does not.
HIDDEN_NODE = """EXISTS (
    SELECT FROM (
        SELECT identifier, deleted_at FROM items
        UNION ALL SELECT identifier, deleted_at FROM documents
    ) node
    WHERE node.identifier = associations.{end}
    HAVING bool_and(node.deleted_at IS NOT NULL)
)"""

CONDITIONS = {
    "associations": f"(document_identifier IS NULL OR document_identifier IN {LIVE_DOCUMENT})"
    f" AND NOT {HIDDEN_NODE.format(end='origin_identifier')}"
    f" AND NOT {HIDDEN_NODE.format(end='destination_identifier')}",
    "rubric_criteria": LIVE_RUBRICS,
    "rubric_criterion_levels": f"""criterion_identifier IN (
        SELECT identifier FROM rubric_criteria WHERE {LIVE_RUBRICS})""",  # noqa: S608
    "packages": f"document_identifier IN {LIVE_DOCUMENT}",
}
"""Conditions on the visible rows of a table; in other tables, rows that are not deleted."""

COMMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "association_groupings": (
        "CFAssociationGrouping: named groups of associations, shared by all frameworks.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
        },
    ),
    "associations": (
        "CFAssociation: typed relations between nodes. Deleted for good, not softly.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "document_identifier": "The document that the entity belongs to.",
            "association_type": "Generated from the body: associationType.",
            "origin_identifier": "Generated from the body: originNodeURI.identifier.",
            "destination_identifier": "Generated from the body: destinationNodeURI.identifier.",
            "grouping_identifier": "Generated from the body: CFAssociationGroupingURI.identifier.",
        },
    ),
    "changes": (
        (
            "Change feed, append-only: one row per entity and write, inserted by the "
            "statement that wrote."
        ),
        {
            "sequence": (
                "Order of insertion. Rows become visible out of order: a follower compares "
                "transaction_id with a snapshot."
            ),
            "transaction_id": "The transaction that wrote, as pg_current_xact_id() returned it.",
            "document_identifier": "The document that the entity belongs to; NULL for definitions.",
            "kind": "Class of the entity, such as CFItem.",
            "identifier": "Identifier of the entity.",
            "operation": "create, update, delete or revive (undelete).",
            "changed_at": "When the change was written.",
        },
    ),
    "client_secrets": (
        "Secrets of clients; two per client while a secret is rotated.",
        {
            "hash": "Salted hash of the secret.",
            "client_identifier": "The client whose secret it is.",
            "created_at": "When the row was inserted.",
            "expires_at": "When the secret stops working; NULL: never.",
        },
    ),
    "clients": (
        "OAuth clients of the local issuer, besides the one from the settings.",
        {
            "identifier": "client_id of token requests.",
            "name": "What the client is for, as its owner described it.",
            "scopes": "Scopes that it may ask for.",
            "created_at": "When the row was inserted.",
        },
    ),
    "concepts": (
        "CFConcept: topics of items, shared by all frameworks.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "hierarchy_code": "Generated from the body: hierarchyCode.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
        },
    ),
    "document_subjects": (
        "subjectURI of documents.",
        {
            "document_identifier": "Refers to documents.identifier.",
            "subject_identifier": "Refers to subjects.identifier.",
        },
    ),
    "documents": (
        "CFDocument: one row per framework.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "license_identifier": "Generated from the body: licenseURI.identifier.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
        },
    ),
    "feed_history": (
        "One row: which history the change feed tells, so that cursors of another end.",
        {
            "identifier": "Part of every cursor of the feed; a restored database gets a new one.",
        },
    ),
    "item_concepts": (
        "conceptKeywordsURI of items: every concept ever linked, because links are additive.",
        {
            "item_identifier": "Refers to items.identifier.",
            "concept_identifier": "Refers to concepts.identifier.",
        },
    ),
    "item_subjects": (
        "subjectURI of items.",
        {
            "item_identifier": "Refers to items.identifier.",
            "subject_identifier": "Refers to subjects.identifier.",
        },
    ),
    "item_types": (
        "CFItemType: kinds of items, shared by all frameworks.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "hierarchy_code": "Generated from the body: hierarchyCode.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
        },
    ),
    "items": (
        "CFItem: the competency statements of all frameworks.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "document_identifier": "The document that the entity belongs to.",
            "item_type_identifier": "Generated from the body: CFItemTypeURI.identifier.",
            "license_identifier": "Generated from the body: licenseURI.identifier.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
            "folded_code": (
                "Generated from the body: the first 200 characters of humanCodingScheme in lower "
                "case."
            ),
            "changed_at": (
                "Generated: last_change_date_time in UTC, to the millisecond, as it is answered."
            ),
            "search": (
                "Generated from the body: the words of humanCodingScheme, fullStatement and "
                "conceptKeywords, and the whole code after an equals sign."
            ),
        },
    ),
    "licenses": (
        "CFLicense: licences of documents and items, shared by all frameworks.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
        },
    ),
    "mirrors": (
        "Packages mirrored from other servers by sync.",
        {
            "url": "URL of the source package.",
            "list_url": "URL of the list that named the package, if a list did.",
            "document_identifier": "The document of the local copy.",
            "etag": "ETag that the source sent with the package.",
            "last_modified": "Last-Modified that the source sent with the package.",
            "history": "feed_history.identifier after the last sync.",
            "revision": (
                "Revision of the local copy after the last sync; another one means local changes."
            ),
            "changed_at": "When that revision was written.",
        },
    ),
    "package_association_groupings": (
        "CFAssociationGroupings that an upload of a package defined, referred to or not.",
        {
            "document_identifier": "Refers to packages.document_identifier.",
            "definition_identifier": "Refers to association_groupings.identifier.",
        },
    ),
    "package_concepts": (
        "CFConcepts that an upload of a package defined, referred to or not.",
        {
            "document_identifier": "Refers to packages.document_identifier.",
            "definition_identifier": "Refers to concepts.identifier.",
        },
    ),
    "package_item_types": (
        "CFItemTypes that an upload of a package defined, referred to or not.",
        {
            "document_identifier": "Refers to packages.document_identifier.",
            "definition_identifier": "Refers to item_types.identifier.",
        },
    ),
    "package_licenses": (
        "CFLicenses that an upload of a package defined, referred to or not.",
        {
            "document_identifier": "Refers to packages.document_identifier.",
            "definition_identifier": "Refers to licenses.identifier.",
        },
    ),
    "package_subjects": (
        "CFSubjects that an upload of a package defined, referred to or not.",
        {
            "document_identifier": "Refers to packages.document_identifier.",
            "definition_identifier": "Refers to subjects.identifier.",
        },
    ),
    "packages": (
        "CFPackage: created with its document.",
        {
            "document_identifier": "The document of the package.",
            "identifier": (
                "The CFPackageURI.identifier of the document, or the document's identifier."
            ),
            "extensions": "extensions of the CFPackage.",
            "definition_extensions": "extensions of the package's CFDefinitions.",
        },
    ),
    "revision_marks": (
        (
            "Writes not folded into revisions yet. Append-only, so that writers of one "
            "document do not wait for each other."
        ),
        {
            "scope": "Scope that was written; see revisions.",
            "changed_at": "When it was written.",
        },
    ),
    "revisions": (
        "Revision per scope: what ETags and Last-Modified of packages are made from.",
        {
            "scope": (
                "A document's identifier, '' for all definitions, or '/' for the existence of "
                "nodes."
            ),
            "version": "Number of writes folded in; the revision adds the rows of revision_marks.",
            "changed_at": "When the last folded write happened.",
        },
    ),
    "rubric_criteria": (
        "CFRubricCriterion: the criteria of rubrics.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "rubric_identifier": "The rubric that the criterion belongs to.",
        },
    ),
    "rubric_criterion_levels": (
        "CFRubricCriterionLevel: the levels of criteria.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "criterion_identifier": "The criterion that the level belongs to.",
        },
    ),
    "rubrics": (
        "CFRubric: the rubrics of all frameworks; their criteria are rows of rubric_criteria.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "document_identifier": "The document that the entity belongs to.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
        },
    ),
    "signing_keys": (
        "Keys of the local token issuer: the newest signs, all of them verify.",
        {
            "kid": "Key ID, as in the header of tokens.",
            "private_pem": "RSA private key. Secret.",
            "created_at": "When the row was inserted.",
        },
    ),
    "subjects": (
        "CFSubject: subjects of documents and items, shared by all frameworks.",
        {
            "identifier": "Generated from the body: identifier.",
            "ordinal": (
                "Position within the package: 0, 1, … as uploaded; entities written one at a time"
                " follow from 1,000,000,000,000."
            ),
            "body": "The entity as validated JSON, in the form and field order of CASE 1.1.",
            "last_change_date_time": "lastChangeDateTime of the entity, to the microsecond.",
            "hierarchy_code": "Generated from the body: hierarchyCode.",
            "deleted_at": "When the entity was deleted (soft delete); NULL if live.",
        },
    ),
}
"""Comment of each table, and of its columns."""


def quote_literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def generate_statements() -> Iterator[str]:
    for table, (comment, columns) in COMMENTS.items():
        yield f"COMMENT ON TABLE {table} IS {quote_literal(comment)}"
        for column, text in columns.items():
            yield f"COMMENT ON COLUMN {table}.{column} IS {quote_literal(text)}"
    for view, (table, view_columns, comment) in VIEWS.items():
        selected = ",\n    ".join(f"{sql} AS {name}" for name, sql in view_columns.items())
        query = f"SELECT\n    {selected}\nFROM {table}\nWHERE {CONDITIONS.get(table, LIVE)}"
        yield f"CREATE VIEW {view} AS {query}"
        yield f"COMMENT ON VIEW {view} IS {quote_literal(comment)}"


def upgrade() -> None:
    for statement in generate_statements():
        op.execute(statement.replace(":", "\\:"))


def downgrade() -> None:
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    for table, (_, columns) in COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS NULL")
        for column in columns:
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS NULL")
