"""Export a framework to a file of any format, read from one snapshot with cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

import orjson

from ..api.profiles import EXPORT
from ..api.rendering.renderer import Renderer
from ..api.rendering.transforms import JsonObject
from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ..db.pool import Database
from ..db.read.package import FrameworkSnapshot, open_framework_snapshot
from ..formats.file_format import ExportLayout, FileFormat
from ..formats.jsonl import JsonLinesWriter
from ..formats.opensalt import OpenSaltWriter
from ..formats.writer import TableWriter

RENDERER = Renderer(EXPORT, base_url="")


class FrameworkWriter(Protocol):
    """Interface of the writers of file formats: ``add`` each entity, then ``finish`` the file."""

    def add(self, kind: str, entity: JsonObject) -> None:
        """Add an entity of the class ``kind``, such as CFItem, in its form inside a CFPackage."""

    def finish(self) -> None:
        """Write the parts of the file that depend on all entities, such as the headings in use."""


async def export_framework(  # noqa: PLR0913  each is a choice of its own
    database: Database,
    identifier: str,
    form: FileFormat,
    file: BinaryIO,
    *,
    pretty: bool = False,
    layout: ExportLayout | None = None,
) -> list[str]:
    """Write a framework to a file in the format ``form``; return messages for the user.

    ``identifier`` is the identifier of its document or package. ``pretty`` indents case-json, for
    which the whole package is held in memory. ``layout`` selects the columns of another program for
    a table; the messages then say which values were left out because that layout has no column for
    them.

    Raises ``NotFound``, and ``UnprocessableContent`` if the format cannot hold a value.
    """
    notes: list[str] = []
    async with open_framework_snapshot(database, identifier) as framework:
        if form == "case-json":
            if pretty:
                package = b"".join([chunk async for chunk in RENDERER.iter_package(framework)])
                file.write(orjson.dumps(orjson.loads(package), option=orjson.OPT_INDENT_2))
            else:
                async for chunk in RENDERER.iter_package(framework):
                    file.write(chunk)
            file.write(b"\n")
        else:
            with _open_writer(form, file, layout) as writer:
                async for kind, entity in _iter_entities(framework):
                    writer.add(kind, entity)
                writer.finish()
                if isinstance(writer, OpenSaltWriter):
                    notes = writer.notes
    file.flush()
    return notes


def _open_writer(
    form: FileFormat, file: BinaryIO, layout: ExportLayout | None
) -> AbstractContextManager[FrameworkWriter]:
    if layout == "opensalt":
        return OpenSaltWriter(file, form)
    return JsonLinesWriter(file) if form == "jsonl" else TableWriter(file, form)


async def _iter_entities(framework: FrameworkSnapshot) -> AsyncIterator[tuple[str, JsonObject]]:
    """Yield (class name, entity) for everything in a package, in the order of the standard."""
    (document,) = await RENDERER.to_package_objects(DOCUMENTS, [framework.document])
    yield DOCUMENTS.name, document
    for resource in (ITEMS, ASSOCIATIONS, *DEFINITIONS, RUBRICS):
        async for entities in RENDERER.iter_batches(framework, resource):
            for entity in entities:
                yield resource.name, entity
    extensions_by_class = {
        "CFDefinition": framework.definition_extensions,
        "CFPackage": framework.extensions,
    }
    for name, extensions in extensions_by_class.items():
        if extensions:
            yield name, {"extensions": orjson.loads(extensions)}
