"""The columns of each class of the standard, read off the model, and the names they go by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from ..case.model import (
    CaseObject,
    CFAssociation,
    CFPckgDocument,
    CFPckgItem,
    CFRubric,
    CFRubricCriterion,
    CFRubricCriterionLevel,
    Entity,
    LinkURI,
)
from ..case.resources import DEFINITIONS
from ..repair import fixes
from ..repair.field_spec import FieldSpec, field_specs
from .cells import DAY, LEVELS, LINKS, LIST, MOMENT, NUMERIC, OBJECT, TEXT, Codec

CODECS = {
    fixes.fix_date: DAY,
    fixes.fix_datetime: MOMENT,
    fixes.fix_integer: NUMERIC,
    fixes.fix_number: NUMERIC,
    fixes.no_fix: OBJECT,
}
"""The codec of a plain value, by what mends it; others are texts."""


@dataclass(frozen=True)
class Column:
    """One column: what stands above it, where its value stands in an entity, and how."""

    name: str
    path: tuple[str, ...]
    codec: Codec
    ours: bool = False
    """Says something about the row that is no field of its entity."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The table of one class."""

    kind: str
    sheet: str
    schema: type[CaseObject]
    first: tuple[str, ...] = ()
    """The columns that stand first, in the order in which people look for them."""
    ours: tuple[Column, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names of columns, folded."""

    @property
    def columns(self) -> dict[str, Column]:
        """The columns by name, in the order in which they are written."""
        return _columns(self)

    def find(self, header: str) -> Column | None:
        """The column that a header means, however it is spelt."""
        return _by_name(self).get(folded(header))


def folded(name: str) -> str:
    """A name without letter case, spaces and signs."""
    return re.sub(r"[\W_]", "", name).casefold()


MORE = Column("more", ("more",), OBJECT, ours=True)
"""What the other columns cannot say exactly: empty texts, odd lists, fields that hold tables."""


@cache
def _columns_of(schema: type[CaseObject]) -> dict[str, Column]:
    found = (column for name, shape in field_specs(schema).items() for column in _flat(name, shape))
    return {column.name: column for column in found}


def _flat(name: str, shape: FieldSpec) -> Iterator[Column]:
    """The columns of a field: one, or one for each part of a link."""
    if shape.model is None:
        codec = CODECS.get(shape.fix, TEXT)
        if shape.many and codec is TEXT:
            codec = LEVELS if name == "educationLevel" else LIST
        yield Column(name, (name,), codec)
    elif shape.many and issubclass(shape.model, LinkURI):
        yield Column(name, (name,), LINKS)
    elif issubclass(shape.model, LinkURI):
        for part in field_specs(shape.model):
            yield Column(f"{name}.{part}", (name, part), TEXT)
    elif not issubclass(shape.model, Entity):
        yield Column(name, (name,), OBJECT)


LAST = ("uri", "lastChangeDateTime", "extensions")
"""Columns that people seldom look at."""


@cache
def _columns(layout: Layout) -> dict[str, Column]:
    own = _columns_of(layout.schema) | {column.name: column for column in layout.ours}
    middle = [name for name in own if name not in {*layout.first, *LAST}]
    names = [*layout.first, *middle, *(name for name in LAST if name in own)]
    return {name: own[name] for name in names} | {MORE.name: MORE}


@cache
def _by_name(layout: Layout) -> dict[str, Column]:
    """Columns by their folded names; a link's own name is a column, too, for its bare text."""
    links = {
        column.path[0]: Column(column.path[0], column.path[:1], TEXT)
        for column in layout.columns.values()
        if len(column.path) > 1
    }
    known = links | layout.columns
    others = {other: known[name] for other, name in layout.aliases.items()}
    bare, own = (
        {folded(name): column for name, column in columns.items()}
        for columns in (links, layout.columns)
    )
    return bare | others | own


def _ours(name: str, codec: Codec) -> Column:
    return Column(name, (name,), codec, ours=True)


IDENTIFIER = dict.fromkeys(("id", "guid", "uuid", "sourcedid"), "identifier")

DOCUMENT = Layout(
    "CFDocument",
    "CFDocument",
    CFPckgDocument,
    ("identifier", "title", "creator", "publisher", "description", "subject", "language"),
    aliases={
        **IDENTIFIER,
        "author": "creator",
        "name": "title",
        "lastchangedate": "lastChangeDateTime",
        "subjects": "subject",
        "license": "licenseURI",
        "licence": "licenseURI",
        "licensetitle": "licenseURI.title",
        "note": "notes",
    },
    ours=(_ours("licenseText", TEXT),),
)

ITEM = Layout(
    "CFItem",
    "CFItems",
    CFPckgItem,
    (
        *("identifier", "parent", "sequenceNumber", "humanCodingScheme", "fullStatement"),
        *("abbreviatedStatement", "CFItemType", "educationLevel", "subject", "conceptKeywords"),
        *("listEnumeration", "notes", "language"),
    ),
    ours=(
        _ours("parent", TEXT),
        _ours("sequenceNumber", NUMERIC),
        _ours("parentAssociation", TEXT),
        _ours("smartLevel", TEXT),
    ),
    aliases={
        **IDENTIFIER,
        **dict.fromkeys(("parentid", "parentidentifier", "parentcode", "childof"), "parent"),
        **dict.fromkeys(("sequence", "order", "number"), "sequenceNumber"),
        **dict.fromkeys(("code", "codingscheme"), "humanCodingScheme"),
        **dict.fromkeys(("statement", "text", "standard"), "fullStatement"),
        **dict.fromkeys(("shortstatement", "abbreviation"), "abbreviatedStatement"),
        **dict.fromkeys(("type", "itemtype"), "CFItemType"),
        **dict.fromkeys(
            ("educationlevels", "educationallevel", "grade", "grades", "level", "levels"),
            "educationLevel",
        ),
        "subjects": "subject",
        **dict.fromkeys(("keywords", "keyword", "concepts"), "conceptKeywords"),
        "enumeration": "listEnumeration",
        "label": "alternativeLabel",
        "note": "notes",
        **dict.fromkeys(("license", "licence"), "licenseURI"),
    },
)

ASSOCIATION = Layout(
    "CFAssociation",
    "CFAssociations",
    CFAssociation,
    (
        *("identifier", "originNodeURI.identifier", "associationType"),
        *("destinationNodeURI.identifier", "sequenceNumber"),
    ),
    ours=(_ours("position", NUMERIC),),
    aliases={
        **IDENTIFIER,
        **dict.fromkeys(("origin", "originnodeidentifier"), "originNodeURI.identifier"),
        "originnodeuri": "originNodeURI.uri",
        "originnodehumancodingscheme": "originNodeURI.title",
        "type": "associationType",
        **dict.fromkeys(
            ("destination", "destinationnodeidentifier"), "destinationNodeURI.identifier"
        ),
        "destinationnodeuri": "destinationNodeURI.uri",
        "destinationnodehumancodingscheme": "destinationNodeURI.title",
        "associationgroupidentifier": "CFAssociationGroupingURI.identifier",
        "associationgroupname": "CFAssociationGroupingURI.title",
        "sequence": "sequenceNumber",
    },
)

PACKAGE = Layout(
    "CFPackage",
    "CFPackage",
    CaseObject,
    ours=(_ours("extensions", OBJECT), _ours("definitionExtensions", OBJECT)),
)

RUBRIC = Layout("CFRubric", "CFRubrics", CFRubric, aliases=IDENTIFIER)
CRITERION = Layout(
    "CFRubricCriterion",
    "CFRubricCriteria",
    CFRubricCriterion,
    ("identifier", "parent"),
    (_ours("parent", TEXT),),
    {**IDENTIFIER, "rubric": "parent"},
)
LEVEL = Layout(
    "CFRubricCriterionLevel",
    "CFRubricCriterionLevels",
    CFRubricCriterionLevel,
    ("identifier", "parent"),
    (_ours("parent", TEXT),),
    {**IDENTIFIER, "criterion": "parent"},
)

DEFINED = tuple(
    Layout(resource.name, resource.plural, resource.schema, aliases=IDENTIFIER)
    for resource in DEFINITIONS
)

LAYOUTS = (DOCUMENT, ITEM, ASSOCIATION, *DEFINED, RUBRIC, CRITERION, LEVEL, PACKAGE)
"""Every table, in the order in which they are written."""

BY_KIND = {layout.kind: layout for layout in LAYOUTS}

OPENSALT = {"cfdoc": DOCUMENT}
"""Names of sheets in the workbooks of OpenSALT that are not ours with or without an s."""


def layout_of(sheet: str) -> Layout | None:
    """The table that a sheet, or a row's class, is by its name."""
    name = folded(sheet)
    for layout in LAYOUTS:
        names = {folded(layout.kind), folded(layout.sheet)}
        if name in names | {one.removeprefix("cf") for one in names}:
            return layout
    return OPENSALT.get(name)
