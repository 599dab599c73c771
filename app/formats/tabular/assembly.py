"""Assemble a package from the rows of a spreadsheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from uuid import NAMESPACE_URL, UUID, uuid5

from ...case.entity_urls import make_uuid_urn
from ...case.package import DerivedValues
from ...case.response_fields import NODE_FIELDS
from ...exceptions import Problem
from ...formatting import format_timestamp
from ...repair.field_spec import get_field_specs
from ...repair.fixes import UUID as UUID_PATTERN
from ...repair.incomplete_packages import derive_document_identifier
from ...repair.metadata_options import MetadataOptions
from ...repair.repair_log import RepairLog
from .columns import (
    ASSOCIATION,
    CRITERION,
    DEFINITION_LAYOUTS,
    DOCUMENT,
    IS_PART_OF,
    ITEM,
    LEVEL,
    PACKAGE,
    RUBRIC,
    SheetLayout,
    find_layout,
)
from .hierarchy import HierarchyBuilder, assign_identifiers
from .rows import CODE_COLUMN, PARENT_ASSOCIATION, JsonObject, Row, RowLocation, RowReader, Sheet


class PackageAssembler:
    """Builds the JSON of a framework, a CASE package, from the sheets of a workbook or CSV file.

    The constructor does all the work. ``package`` is the JSON, ``problems`` and ``repairs`` are
    about cells, and ``locations`` maps the path of each entity in the package, such as
    ``CFItems[0]``, to its row.
    """

    def __init__(
        self, sheets: list[Sheet], metadata: MetadataOptions, *, is_strict: bool = False
    ) -> None:
        self.problems: list[Problem] = []
        self.repairs = RepairLog()
        self.left_out: list[str] = []
        """The names of sheets that are not read."""
        self.derived = DerivedValues()
        self.locations: dict[str, RowLocation] = {}
        self._metadata = metadata
        self._is_strict = is_strict
        self._rows: dict[SheetLayout, list[Row]] = defaultdict(list)
        self._numeric_codes: set[str] = set()
        readers = [
            RowReader(sheet, layout, self.problems, self.repairs)
            for sheet, layout in self._match_sheets_to_layouts(sheets)
        ]
        self.is_export = any(PARENT_ASSOCIATION in rows.headings for rows in readers)
        """True if ``export`` wrote it: only exports have a column parentAssociation."""
        for rows in readers:
            rows.can_repair = not is_strict and not self.is_export
            for row in rows:
                self._rows[row.layout].append(row)
            self._numeric_codes |= rows.numeric_codes
        self.misspelled_headings = [
            misspelling for rows in readers for misspelling in rows.misspelled_headings
        ]
        """Unknown headings that resemble known ones."""
        self.has_rows = any(self._rows.values()) or bool(self.problems)
        self.package = self._build_package()

    def _match_sheets_to_layouts(
        self, sheets: list[Sheet]
    ) -> Iterator[tuple[Sheet, SheetLayout | None]]:
        """Yield (sheet, layout) for each sheet named after a CASE class, such as ``CFItems``.

        ``layout`` is the ``SheetLayout`` of the class. If no sheet has such a name, only the first
        sheet is yielded, with None as its layout. Sets ``left_out`` to the names of the sheets to
        warn about.
        """
        sheets_and_layouts = [(sheet, find_layout(sheet.name or "")) for sheet in sheets]
        if any(layout for _, layout in sheets_and_layouts):
            unknown_names = [
                sheet.name for sheet, layout in sheets_and_layouts if not layout and sheet.name
            ]
            self.left_out = [name for name in unknown_names if name != HELP_SHEET]
            yield from ((sheet, layout) for sheet, layout in sheets_and_layouts if layout)
        else:
            yield from sheets_and_layouts[:1]
            self.left_out = [sheet.name for sheet in sheets[1:] if sheet.name]

    def find_duplicate_numeric_codes(self) -> dict[str, list[RowLocation]]:
        """Return a dict from each duplicate code that came from a numeric cell to its locations.

        A code is duplicate if several items have it, and one numeric cell suffices. Import warns
        about these codes, because Excel may have changed the code 1.10 to the number 1.1.
        """
        rows_by_code: dict[str, list[RowLocation]] = defaultdict(list)
        for row in self._rows[ITEM]:
            rows_by_code[str(row.entity.get(CODE_COLUMN, "")).strip()].append(row.location)
        return {
            code: locations
            for code, locations in rows_by_code.items()
            if len(locations) > 1 and code in self._numeric_codes
        }

    def _build_package(self) -> JsonObject:
        document = self._build_document()
        items, association_rows = self._rows[ITEM], self._rows[ASSOCIATION]
        namespace = uuid5(NAMESPACE_URL, document["identifier"])
        for rows in self._rows.values():
            self._drop_invalid_identifiers(rows)
        self.derived.items = assign_identifiers(items, namespace)
        for row in items:
            self._complete_entity(row.entity, ITEM, document)
        tree = HierarchyBuilder(
            namespace,
            document,
            items,
            association_rows,
            self.problems,
            self.repairs,
            self.derived,
            is_strict=self._is_strict,
        )
        associations = tree.build_associations()
        for row in associations:
            self._complete_entity(row.entity, ASSOCIATION, document)
        definitions = {
            layout.sheet: self._build_definitions(layout, namespace, document)
            for layout in DEFINITION_LAYOUTS
        }
        self._add_document_license(document, definitions)
        package: JsonObject = {
            "CFDocument": document,
            "CFItems": self._list_entities(items, "CFItems"),
            "CFAssociations": self._list_entities(associations, "CFAssociations"),
            "CFDefinitions": definitions,
            "CFRubrics": self._build_rubrics(namespace, document),
        }
        self._add_extensions(package)
        return package

    def _build_definitions(
        self, layout: SheetLayout, namespace: UUID, document: JsonObject
    ) -> list[JsonObject]:
        rows = self._rows[layout]
        for row in rows:
            name = f"{layout.kind}\n{row.entity.get('title')}"
            row.entity.setdefault("identifier", str(uuid5(namespace, name)))
            self._complete_entity(row.entity, layout, document)
        return self._list_entities(rows, f"CFDefinitions.{layout.sheet}")

    def _build_document(self) -> JsonObject:
        rows = self._rows[DOCUMENT]
        row = rows[0] if rows else Row(DOCUMENT, RowLocation(""))
        for other in rows[1:]:
            message = "a second document: a file contains one framework"
            self._add_problem(other.location.describe(), message)
        document, metadata = row.entity, self._metadata
        for name, flag in (("title", metadata.title), ("creator", metadata.creator)):
            if flag is not None:
                document[name] = flag
            elif name not in document:
                self._add_problem(
                    row.location.describe(name).strip() if rows else name,
                    f"the framework has no {name}: give it with --{name}, or in a sheet or row "
                    "CFDocument",
                )
                document[name] = "?"
        self._drop_invalid_identifiers(rows)
        self._infer_document_identifier(document)
        if metadata.identifier:
            document["identifier"] = metadata.identifier
        if "identifier" not in document:
            document["identifier"] = derive_document_identifier(
                document["title"], document["creator"], self.derived
            )
        if "lastChangeDateTime" not in document:
            document["lastChangeDateTime"] = format_timestamp(metadata.changed)
            self.derived.times.add((DOCUMENT.kind, document["identifier"]))
        self._complete_entity(document, DOCUMENT, document)
        self.locations["CFDocument"] = row.location if rows else RowLocation("CFDocument")
        return document

    def _infer_document_identifier(self, document: JsonObject) -> None:
        """Set the document's missing identifier from the column ``Is Part Of`` if all items agree.

        The CASE editor compeito writes the document's identifier into this column of each item.
        Once used, the cells are removed from the rows, which is recorded as a repair.
        """
        items = self._rows[ITEM]
        names = {row.metadata.get(IS_PART_OF) for row in items}
        name = names.pop() if len(names) == 1 else None
        if name is None or not UUID_PATTERN.fullmatch(name):
            return
        if any(row.entity.get("identifier") == name for row in items):
            return
        if document.setdefault("identifier", name) == name:
            for row in items:
                del row.metadata[IS_PART_OF]
                location = row.location.describe(IS_PART_OF)
                self.repairs.record("document-of-items", location, name)

    def _add_document_license(
        self, document: JsonObject, definitions: dict[str, list[JsonObject]]
    ) -> None:
        """Add a CFLicense to ``definitions`` if the document's row contains the text of a license.

        ``definitions`` is the CFDefinitions of the package, such as ``{"CFLicenses": […]}``. The
        CFLicense is a copy of the document's ``licenseURI`` with the text. The text of a document
        without ``licenseURI`` is left out, which is recorded as a repair. A link from which no
        identifier can be derived is added to ``problems``.
        """
        text = next((row.metadata.get("licenseText") for row in self._rows[DOCUMENT]), None)
        link, location = document.get("licenseURI"), self.locations["CFDocument"]
        if text and link is None:
            self.repairs.record("license-text", location.describe("licenseText"), text)
        elif text and isinstance(link, dict) and not isinstance(link.get("identifier"), str):
            self._add_problem(
                location.describe("licenseURI"),
                "its identifier or title must be a string, because there is a licenseText",
            )
        elif text and isinstance(link, dict):
            license_entity = {**link, "licenseText": text}
            self._complete_entity(license_entity, DOCUMENT, document)
            definitions["CFLicenses"].append(license_entity)

    def _drop_invalid_identifiers(self, rows: list[Row]) -> None:
        for row in rows:
            if not isinstance(row.entity.get("identifier", ""), str):
                self._add_problem(row.location.describe("identifier"), "must be a string")
                del row.entity["identifier"]

    def _list_entities(self, rows: list[Row], path: str) -> list[JsonObject]:
        for index, row in enumerate(rows):
            self.locations[f"{path}[{index}]"] = row.location
        return [row.entity for row in rows]

    def _build_rubrics(self, namespace: UUID, document: JsonObject) -> list[JsonObject]:
        """Return the JSON of each rubric, in row order, built from the rows of all three classes.

        Criteria are nested in their rubrics, and levels in their criteria. An entity without an
        identifier gets a UUID (version 5) in ``namespace``. A row whose parent does not exist is
        left out and added to ``problems``.
        """
        parents: dict[str, tuple[JsonObject, str]] = {}
        rubrics: list[JsonObject] = []
        for layout, field in ((RUBRIC, ""), (CRITERION, "CFRubricCriteria"), (LEVEL, LEVEL.sheet)):
            entities: dict[str, tuple[JsonObject, str]] = {}
            for number, row in enumerate(self._rows[layout]):
                identifier = uuid5(namespace, f"{layout.kind}\n{number}")
                row.entity.setdefault("identifier", str(identifier))
                self._complete_entity(row.entity, layout, document)
                siblings, path = rubrics, "CFRubrics"
                if field:
                    parent = row.metadata.get("parent", "")
                    if parent not in parents:
                        self._add_problem(
                            row.location.describe("parent"),
                            f"no row of the table above has the identifier {parent!r}",
                        )
                        continue
                    entity, path = parents[parent]
                    siblings = entity.setdefault(field, [])
                    if not isinstance(siblings, list):
                        self._add_problem(self.locations[path].describe(field), "must be an array")
                        siblings = entity[field] = []
                    path = f"{path}.{field}"
                siblings.append(row.entity)
                path = f"{path}[{len(siblings) - 1}]"
                entities[row.entity["identifier"]] = (row.entity, path)
                self.locations[path] = row.location
            parents = entities
        return rubrics

    def _add_extensions(self, package: JsonObject) -> None:
        for row in self._rows[PACKAGE]:
            if "extensions" in row.metadata:
                package["extensions"] = row.metadata["extensions"]
            if "definitionExtensions" in row.metadata:
                package["CFDefinitions"]["extensions"] = row.metadata["definitionExtensions"]

    def _complete_entity(
        self, entity: JsonObject, layout: SheetLayout, document: JsonObject
    ) -> None:
        """Fill in the missing required fields of an entity and of its links.

        ``layout`` is the sheet layout of the entity's class. A missing uri is a ``urn:uuid:`` URN
        with the identifier; a missing lastChangeDateTime is copied from ``document``.
        """
        entity.setdefault("uri", make_uuid_urn(entity["identifier"]))
        if entity.get("lastChangeDateTime") is None:
            entity["lastChangeDateTime"] = document["lastChangeDateTime"]
            self.derived.times.add((layout.kind, entity["identifier"]))
        for name, shape in get_field_specs(layout.schema).items():
            link = entity.get(name)
            is_link = shape.model and not shape.many and name not in NODE_FIELDS
            if is_link and isinstance(link, dict):
                _complete_link(link)

    def _add_problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path=path, message=message))


HELP_SHEET = "About"
"""The sheet of the template that describes all columns."""


def _complete_link(link: JsonObject) -> None:
    name = link.get("title") or link.get("uri")
    if "identifier" not in link and isinstance(name, str):
        link["identifier"] = str(uuid5(NAMESPACE_URL, name))
    if isinstance(identifier := link.get("identifier"), str):
        link.setdefault("title", name or identifier)
        link.setdefault("uri", make_uuid_urn(identifier))
