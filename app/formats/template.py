"""Write empty spreadsheets to fill in, with every column explained."""

from __future__ import annotations

from typing import BinaryIO

from . import csv, xlsx
from .tabular.assembly import HELP_SHEET
from .tabular.columns import ASSOCIATION, DOCUMENT, ITEM, Column, SheetLayout

DESCRIPTIONS = {
    "identifier": "A permanent identifier, preferably a UUID. If empty, it is made from "
    "the code or the text.",
    "uri": "The uri. If empty, it is made from the identifier.",
    "lastChangeDateTime": "The time of the last change. If empty, it is that of the framework or "
    "of the file.",
    "extensions": "Fields of your own, as a JSON object.",
    "more": "Values that no other column can hold exactly, as a JSON object.",
    "title": "The title of the framework. Required.",
    "creator": "The creator of the framework. Required.",
    "publisher": "The publisher.",
    "description": "A description of the framework.",
    "CFDocument.subject": "The subjects of the framework.",
    "subject": "The subjects of the item.",
    "subjectURI": "Links to subjects.",
    "language": "The language, for example en.",
    "frameworkType": "The type of the framework.",
    "caseVersion": "1.1, or empty.",
    "officialSourceURL": "The URL of the official text.",
    "version": "The version of the framework.",
    "adoptionStatus": "Draft, Adopted, Deprecated or another status.",
    "statusStartDate": "The first day on which it is in force.",
    "statusEndDate": "The last day on which it is in force.",
    "licenseURI": "the licence",
    "licenseText": "The text of the licence, as OpenSALT writes it.",
    "notes": "Notes.",
    "CFPackageURI": "the package",
    "parent": "The identifier or code of the parent item. If empty, the parent is the framework.",
    "CFItem.sequenceNumber": "The place among siblings. If it is empty for all of them, they "
    "follow the order of their rows.",
    "sequenceNumber": "The place among associations of the same kind.",
    "parentAssociation": "All other fields of the association to the parent, as a JSON object; "
    "none for an item without a parent.",
    "smartLevel": "Instead of parent, as in OpenSALT: 1.2.3 is a child of 1.2.",
    "humanCodingScheme": "The code that people use, for example 3.OA.1.",
    "fullStatement": "The text of the item. Required.",
    "abbreviatedStatement": "A short form of the text.",
    "alternativeLabel": "Another name of the item.",
    "CFItemType": "The type of the item, for example Standard or Domain.",
    "CFItemTypeURI": "the item type",
    "educationLevel": "Grades or levels.",
    "conceptKeywords": "Keywords.",
    "conceptKeywordsURI": "Links to concepts.",
    "listEnumeration": "The letter or number before the item in its list.",
    "CFDocumentURI": "the framework, if it is another one",
    "associationType": "For example isRelatedTo, exactMatchOf, precedes or isPartOf. Required.",
    "originNodeURI": "the origin node",
    "originNodeURI.identifier": "The identifier or code of the origin item. Required.",
    "destinationNodeURI": "the destination node",
    "destinationNodeURI.identifier": "The identifier or code of the destination item. Required.",
    "CFAssociationGroupingURI": "the group that the association belongs to",
    "position": "The place among all associations of the framework.",
}
"""Descriptions of columns, by field name, or by class and field name where classes differ."""

LINK_DESCRIPTIONS = {
    "title": "The title of {}.",
    "identifier": "The identifier of {}.",
    "uri": "The uri of {}.",
    "targetType": "The kind of {} if it is not in CASE: ext:name.",
}
"""Descriptions of the columns of a link."""

TEMPLATE_LAYOUTS = (DOCUMENT, ITEM, ASSOCIATION)
"""The tables that people fill in. Others occur only in exported frameworks."""


def get_template_columns(layout: SheetLayout) -> list[Column]:
    """Return the columns of a layout that a template contains.

    Omits ``EXPERT_COLUMNS``, which occur only in exports and in files of other programs.
    """
    return [column for column in layout.columns.values() if column.name not in EXPERT_COLUMNS]


EXPERT_COLUMNS = {"parentAssociation", "smartLevel", "position", "licenseText", "more"}
"""Columns that only exports and the workbooks of other programs have."""


def describe_column(layout: SheetLayout, column: Column) -> str:
    """Return the help text for a column of a template, which says what the column is for."""
    name, *part = column.path
    description = DESCRIPTIONS.get(f"{layout.kind}.{column.name}") or DESCRIPTIONS.get(column.name)
    return description or LINK_DESCRIPTIONS[part[0]].format(DESCRIPTIONS[name])


def write_csv_template(file: BinaryIO) -> None:
    """Write a CSV file to fill in, which contains only the headings of item columns."""
    csv.write_csv(file, [[column.name for column in get_template_columns(ITEM)]])


def write_workbook_template(file: BinaryIO) -> None:
    """Write an empty workbook to fill in, with a help sheet that describes all columns.

    It has sheets for the document, the items and the associations.
    """
    sheets = [
        (layout.sheet, [column.name for column in get_template_columns(layout)], ())
        for layout in TEMPLATE_LAYOUTS
    ]
    help_header = ("sheet", "column", "what to write", "what it is for")
    help_rows = [
        (layout.sheet, column.name, column.codec.about, describe_column(layout, column))
        for layout in TEMPLATE_LAYOUTS
        for column in get_template_columns(layout)
    ]
    xlsx.write_workbook(file, [*sheets, (HELP_SHEET, help_header, help_rows)])
