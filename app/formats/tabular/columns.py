"""The columns of each class of the standard, derived from the model, and their other names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property

from ...case.model import (
    CaseModel,
    CFAssociation,
    CFPckgDocument,
    CFPckgItem,
    CFRubric,
    CFRubricCriterion,
    CFRubricCriterionLevel,
    Entity,
    LinkURI,
)
from ...case.resources import DEFINITIONS
from ...case.vocabulary import ASSOCIATION_TYPES, IS_CHILD_OF
from ...repair import fixes
from ...repair.field_spec import FieldSpec, get_field_specs
from .cells import (
    DATE,
    DATE_TIME,
    JSON_VALUE,
    LEVEL_LIST,
    LINKS,
    NUMERIC,
    STRING,
    STRING_LIST,
    CellCodec,
)

CODECS = {
    fixes.suggest_date_fix: DATE,
    fixes.suggest_datetime_fix: DATE_TIME,
    fixes.suggest_integer_fix: NUMERIC,
    fixes.suggest_number_fix: NUMERIC,
    fixes.suggest_nothing: JSON_VALUE,
}
"""The codec of a field without a model, by its fix. All others are strings."""

IS_PART_OF = "isPartOf"


@dataclass(frozen=True)
class Column:
    """A column of a sheet: its heading, the entity field it stores, and how cells are converted.

    ``path`` is the path of the field in the entity's JSON, such as ("licenseURI", "title").
    ``codec`` converts values between JSON and cells.
    """

    name: str
    path: tuple[str, ...]
    codec: CellCodec
    metadata: bool = False
    """True if it describes the row and is no field of its entity."""


@dataclass(frozen=True, eq=False)
class SheetLayout:
    """The sheet of a CASE class such as CFItem: its name, its columns and their aliases."""

    kind: str
    sheet: str
    schema: type[CaseModel]
    first: tuple[str, ...] = ()
    """The columns that come first, because people look for them."""
    metadata: dict[str, CellCodec] = field(default_factory=dict)
    """Columns that describe the row and are no fields of its entity, with their codecs."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names of columns, normalized with ``normalize_heading``."""

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns of this sheet by name, in the order in which an export writes them."""
        columns = {
            column.name: column
            for name, spec in get_field_specs(self.schema).items()
            for column in _iter_field_columns(name, spec)
        }
        columns |= {
            name: _make_metadata_column(name, codec) for name, codec in self.metadata.items()
        }
        middle = [name for name in columns if name not in {*self.first, *TRAILING_COLUMNS}]
        names = [*self.first, *middle, *(name for name in TRAILING_COLUMNS if name in columns)]
        return {name: columns[name] for name in names} | {OVERFLOW.name: OVERFLOW}

    @cached_property
    def _columns_by_heading(self) -> dict[str, Column]:
        """A dict from each known heading, normalized with ``normalize_heading``, to its column.

        Includes the aliases of headings. A link field has a column for each subfield, such as
        ``licenseURI.title``. The field's name alone, such as ``licenseURI``, is accepted as the
        heading of a column of strings.
        """
        links = {
            column.path[0]: Column(column.path[0], column.path[:1], STRING)
            for column in self.columns.values()
            if len(column.path) > 1
        }
        columns = links | self.columns
        aliases = {other: columns[name] for other, name in self.aliases.items()}
        association_columns = ASSOCIATION_COLUMNS if self is ITEM else {}
        return (
            _normalize_keys(association_columns | links) | aliases | _normalize_keys(self.columns)
        )

    def find_column(self, heading: str) -> Column | None:
        """Return the column that a heading in a file refers to, or None if it is unknown.

        Ignores letter case, spaces and punctuation, and recognizes ``aliases``, the headings that
        other programs use for the same column.
        """
        return self._columns_by_heading.get(normalize_heading(heading))

    def find_similar_column(self, heading: str) -> Column | None:
        """Return the column that a misspelled heading such as "Parnet" may mean, or None.

        For a correct heading, the result is None.
        """
        columns = self._columns_by_heading
        normalized = normalize_heading(heading)
        if normalized in columns:
            return None
        # A longer heading, such as Standard Code, is another one and no misspelling.
        names = [name for name in columns if abs(len(name) - len(normalized)) <= 1]
        close = get_close_matches(normalized, names, n=1, cutoff=MIN_SIMILARITY)
        return columns[close[0]] if close else None


MIN_SIMILARITY = 0.75
"""Similarity of two headings (``difflib``) from which one may be a misspelling of the other."""


def normalize_heading(heading: str) -> str:
    """Return a heading in lower case without spaces and punctuation, for comparison.

    ``Is Child Of`` and ``is_child_of`` both give ``ischildof``.
    """
    return re.sub(r"[\W_]", "", heading).casefold()


def _normalize_keys(columns: dict[str, Column]) -> dict[str, Column]:
    return {normalize_heading(name): column for name, column in columns.items()}


OVERFLOW = Column("more", ("more",), JSON_VALUE, metadata=True)
"""Values that no other column can hold exactly, such as an empty string."""


def _iter_field_columns(name: str, spec: FieldSpec) -> Iterator[Column]:
    """Yield a ``Column`` for a field of an entity, or for a link one column per subfield.

    ``name`` is the field's name, and ``spec`` gives its type. A list of links has only one column.
    A field of nested entities, such as the criteria of a rubric, has none, because they have rows
    of their own.
    """
    if spec.model is None:
        codec = CODECS.get(spec.fix, STRING)
        if spec.many and codec is STRING:
            codec = LEVEL_LIST if name == "educationLevel" else STRING_LIST
        yield Column(name, (name,), codec)
    elif spec.many and issubclass(spec.model, LinkURI):
        yield Column(name, (name,), LINKS)
    elif issubclass(spec.model, LinkURI):
        for part in get_field_specs(spec.model):
            yield Column(f"{name}.{part}", (name, part), STRING)
    elif not issubclass(spec.model, Entity):
        yield Column(name, (name,), JSON_VALUE)


TRAILING_COLUMNS = ("uri", "lastChangeDateTime", "extensions")
"""Columns that come last, because people seldom look at them."""


def _make_metadata_column(name: str, codec: CellCodec) -> Column:
    return Column(name, (name,), codec, metadata=True)


ASSOCIATION_COLUMNS = {
    name: _make_metadata_column(name, STRING) for name in ASSOCIATION_TYPES if name != IS_CHILD_OF
}
"""Columns of OpenSALT in a table of items: codes or identifiers of the destinations, by type."""

CASE_IDENTIFIER = "caseidentifieruuid"
KNOWLEDGE_GRAPH_HEADINGS = {CASE_IDENTIFIER, "caseidentifieruri", "statementcode"}
"""Headings of Learning Commons' knowledge graph that nothing else uses."""

KNOWLEDGE_GRAPH_IDENTIFIER = Column("extensions.identifier", ("extensions", "identifier"), STRING)
"""The graph's own identifier of an item, which has a CASE identifier in another column."""

PARENT_CODE = _make_metadata_column("parentCode", STRING)
"""The code of the parent, in a table that has its identifier, too: IsChildOf and Is Child Of."""
PARENT_CODE_HEADING = "IsChildOf"
PARENT_HEADING = "Is Child Of"

DEPTH = _make_metadata_column("depth", NUMERIC)
"""The depth of an item below the framework, from 1: OpenCASE's Level next to Education Level."""
DEPTH_HEADINGS = {"depth", "indent"}
DEPTH_OR_GRADE_HEADING = "level"


def _map_aliases(aliases: dict[str, str]) -> dict[str, str]:
    """Return a dict from alias to column name.

    ``aliases`` contains the aliases of each column, separated by spaces: ``{"notes": "note memo"}``
    gives ``{"note": "notes", "memo": "notes"}``.
    """
    return {alias: name for name, words in aliases.items() for alias in words.split()}


IDENTIFIER_ALIASES = _map_aliases({"identifier": "id guid uuid sourcedid"})

DOCUMENT = SheetLayout(
    "CFDocument",
    "CFDocument",
    CFPckgDocument,
    ("identifier", "title", "creator", "publisher", "description", "subject", "language"),
    aliases=IDENTIFIER_ALIASES
    | _map_aliases(
        {
            "creator": "author",
            "title": "name",
            "lastChangeDateTime": "lastchangedate",
            "subject": "subjects",
            "licenseURI": "license licence",
            "licenseURI.title": "licensetitle",
            "notes": "note",
        }
    ),
    metadata={"licenseText": STRING},
)

ITEM = SheetLayout(
    "CFItem",
    "CFItems",
    CFPckgItem,
    (
        *("identifier", "parent", "sequenceNumber", "humanCodingScheme", "fullStatement"),
        *("abbreviatedStatement", "CFItemType", "educationLevel", "subject", "conceptKeywords"),
        *("listEnumeration", "notes", "language"),
    ),
    metadata={
        **dict.fromkeys(("parent", "parentAssociation", "smartLevel"), STRING),
        "sequenceNumber": NUMERIC,
    },
    aliases=IDENTIFIER_ALIASES
    | _map_aliases(
        {
            "parent": "parentid parentidentifier parentcode childof ischildof",
            "sequenceNumber": "sequence order number",
            "humanCodingScheme": "code codingscheme statementcode",
            "fullStatement": "statement text standard",
            "abbreviatedStatement": "shortstatement abbreviation",
            "CFItemType": "type itemtype statementtype",
            "educationLevel": "educationlevels educationallevel grade grades gradelevel "
            "gradelevels level levels",
            "subject": "subjects academicsubject",
            "language": "inlanguage",
            "lastChangeDateTime": "datemodified",
            "identifier": CASE_IDENTIFIER,
            "uri": "caseidentifieruri",
            "conceptKeywords": "keywords keyword concepts",
            "listEnumeration": "enumeration",
            "alternativeLabel": "label",
            "notes": "note",
            "licenseURI": "license licence",
        }
    ),
)

ASSOCIATION = SheetLayout(
    "CFAssociation",
    "CFAssociations",
    CFAssociation,
    (
        *("identifier", "originNodeURI.identifier", "associationType"),
        *("destinationNodeURI.identifier", "sequenceNumber"),
    ),
    metadata={"position": NUMERIC},
    aliases=IDENTIFIER_ALIASES
    | _map_aliases(
        {
            "originNodeURI.identifier": "origin originnodeidentifier",
            "originNodeURI.uri": "originnodeuri",
            "originNodeURI.title": "originnodehumancodingscheme",
            "associationType": "type",
            "destinationNodeURI.identifier": "destination destinationnodeidentifier",
            "destinationNodeURI.uri": "destinationnodeuri",
            "destinationNodeURI.title": "destinationnodehumancodingscheme",
            "CFAssociationGroupingURI.identifier": "associationgroupidentifier",
            "CFAssociationGroupingURI.title": "associationgroupname",
            "sequenceNumber": "sequence",
        }
    ),
)

PACKAGE = SheetLayout(
    "CFPackage",
    "CFPackage",
    CaseModel,
    metadata={"extensions": JSON_VALUE, "definitionExtensions": JSON_VALUE},
)

RUBRIC = SheetLayout("CFRubric", "CFRubrics", CFRubric, aliases=IDENTIFIER_ALIASES)
CRITERION = SheetLayout(
    "CFRubricCriterion",
    "CFRubricCriteria",
    CFRubricCriterion,
    ("identifier", "parent"),
    {"parent": STRING},
    {**IDENTIFIER_ALIASES, "rubric": "parent"},
)
LEVEL = SheetLayout(
    "CFRubricCriterionLevel",
    "CFRubricCriterionLevels",
    CFRubricCriterionLevel,
    ("identifier", "parent"),
    {"parent": STRING},
    {**IDENTIFIER_ALIASES, "criterion": "parent"},
)

DEFINITION_LAYOUTS = tuple(
    SheetLayout(resource.name, resource.collection, resource.schema, aliases=IDENTIFIER_ALIASES)
    for resource in DEFINITIONS
)

LAYOUTS = (DOCUMENT, ITEM, ASSOCIATION, *DEFINITION_LAYOUTS, RUBRIC, CRITERION, LEVEL, PACKAGE)
"""All tables, in the order in which they are written."""

LAYOUTS_BY_CLASS = {layout.kind: layout for layout in LAYOUTS}

LAYOUTS_BY_NAME = {
    name: layout
    for layout in LAYOUTS
    for full_name in map(normalize_heading, (layout.kind, layout.sheet))
    for name in (full_name, full_name.removeprefix("cf"))
} | {"cfdoc": DOCUMENT}
"""Layouts by normalized names of classes and sheets. OpenSALT's sheet of the document is CF Doc."""


def find_layout(sheet_or_class_name: str) -> SheetLayout | None:
    """Return the layout for a sheet name or class name, or None if the name is unknown.

    For example, ``CFItems`` and ``CFItem`` both have the layout of items.
    """
    return LAYOUTS_BY_NAME.get(normalize_heading(sheet_or_class_name))
