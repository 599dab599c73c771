"""Export a framework to a file of any format, read from one snapshot with cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO

import orjson

from ..api.profiles import EXPORT
from ..api.rendering.renderer import Renderer
from ..api.rendering.transforms import JsonObject
from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ..db.pool import Database
from ..db.read.package import FrameworkSnapshot, open_framework_snapshot
from ..formats.file_format import ExportLayout, FileFormat, FrameworkWriter
from ..formats.jsonl import JsonLinesWriter
from ..formats.opensalt import OpenSaltWriter
from ..formats.writer import TableWriter

RENDERER = Renderer(EXPORT, base_url="")


async def export_framework(  # noqa: PLR0913  each is a choice of its own
    database: Database,
    identifier: str,
    file_format: FileFormat,
    file: BinaryIO,
    *,
    pretty: bool = False,
    layout: ExportLayout | None = None,
) -> list[str]:
    """Write a framework to a file in the given format, and return messages for the user.

    ``identifier`` is the identifier of its document or package. ``pretty`` indents ``case-json``,
    and holds the whole package in memory. ``layout`` selects the columns that another program, such
    as OpenSALT, expects; the messages then list the values that have no column.

    Raises ``NotFound``, and ``UnprocessableContent`` if the format cannot represent a value.
    """
    notes: list[str] = []
    async with open_framework_snapshot(database, identifier) as framework:
        if file_format == "case-json":
            if pretty:
                package = b"".join([chunk async for chunk in RENDERER.iter_package_json(framework)])
                file.write(orjson.dumps(orjson.loads(package), option=orjson.OPT_INDENT_2))
            else:
                async for chunk in RENDERER.iter_package_json(framework):
                    file.write(chunk)
            file.write(b"\n")
        else:
            with _open_writer(file_format, file, layout) as writer:
                async for kind, entity in _iter_entities(framework):
                    writer.add(kind, entity)
                writer.finish()
                notes = [*writer.notes]
    file.flush()
    return notes


def _open_writer(
    file_format: FileFormat, file: BinaryIO, layout: ExportLayout | None
) -> FrameworkWriter:
    if layout == "opensalt":
        return OpenSaltWriter(file, file_format)
    return JsonLinesWriter(file) if file_format == "jsonl" else TableWriter(file, file_format)


async def _iter_entities(framework: FrameworkSnapshot) -> AsyncIterator[tuple[str, JsonObject]]:
    """Yield (class name, JSON) for the document, then for each other entity of a framework.

    They are in the order of a CFPackage. The last pairs have the class CFDefinition or CFPackage
    and the ``extensions`` of that object, if it has any.
    """
    (document,) = await RENDERER.to_package_objects(DOCUMENTS, [framework.document])
    yield DOCUMENTS.name, document
    for resource in (ITEMS, ASSOCIATIONS, *DEFINITIONS, RUBRICS):
        async for entities in RENDERER.iter_entity_batches(framework, resource):
            for entity in entities:
                yield resource.name, entity
    extensions_by_class = {
        "CFDefinition": framework.definition_extensions,
        "CFPackage": framework.extensions,
    }
    for name, extensions in extensions_by_class.items():
        if extensions:
            yield name, {"extensions": orjson.loads(extensions)}
