"""A framework out of the store into a file of any form, read as of one moment from cursors."""

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
from ..db.read.package import FrameworkSnapshot, framework_snapshot
from ..formats.file_format import FileFormat
from ..formats.jsonl import JsonLinesWriter
from ..formats.writer import TableWriter

RENDERER = Renderer(EXPORT, base_url="")


class Writer(Protocol):
    """What takes in the entities of one framework, one by one."""

    def add(self, kind: str, entity: JsonObject) -> None:
        """Take in an entity, as it stands inside a package."""

    def finish(self) -> None:
        """Write what was held back until all was known."""


async def export(database: Database, identifier: str, form: FileFormat, file: BinaryIO) -> None:
    """Write the framework whose document or package this is, in the standard's own form.

    Raises ``NotFound``, and ``InvalidData`` when the form cannot hold what the framework says.
    """
    async with framework_snapshot(database, identifier) as framework:
        if form == "case-json":
            async for piece in RENDERER.package(framework):
                file.write(piece)
            file.write(b"\n")
        else:
            with _writer(form, file) as writer:
                async for kind, entity in _entities(framework):
                    writer.add(kind, entity)
                writer.finish()
    file.flush()


def _writer(form: FileFormat, file: BinaryIO) -> AbstractContextManager[Writer]:
    return JsonLinesWriter(file) if form == "jsonl" else TableWriter(file, form)


async def _entities(framework: FrameworkSnapshot) -> AsyncIterator[tuple[str, JsonObject]]:
    """All that a package holds, each under the name of its class."""
    (document,) = await RENDERER.to_package_objects(DOCUMENTS, [framework.document])
    yield DOCUMENTS.name, document
    for resource in (ITEMS, ASSOCIATIONS, *DEFINITIONS, RUBRICS):
        async for entities in RENDERER.iter_batches(framework, resource):
            for entity in entities:
                yield resource.name, entity
    held = {"CFDefinition": framework.definition_extensions, "CFPackage": framework.extensions}
    for name, extensions in held.items():
        if extensions:
            yield name, {"extensions": orjson.loads(extensions)}
