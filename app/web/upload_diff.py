"""What an upload would change, in words: of each entity what it said, and what it is to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..case.package import Package
from ..case.resources import ASSOCIATIONS, DOCUMENTS
from ..db.pool import Database
from ..db.read import package_diff
from .attributes import Body, read_body
from .relations import words_of

LISTED = 100
"""How many of each are written out."""

NAMES = {DOCUMENTS.name: "framework", ASSOCIATIONS.name: "association"}


@dataclass(frozen=True)
class Entity:
    """Something that would be added, changed or deleted."""

    kind: str
    code: str
    statement: str
    was: str = ""
    """What it says now, when it is to say something else."""
    fields: tuple[str, ...] = ()
    """The fields that would change."""


@dataclass(frozen=True)
class Part:
    """What would be added, or changed, or deleted: how much, and the first of it."""

    title: str
    total: int
    entities: list[Entity]


async def parts_of(database: Database, package: Package) -> list[Part]:
    """Everything that storing a package would change of the framework that is here."""
    found = await package_diff.diff_package(database, package)
    shown = [keys[:LISTED] for keys in found]
    wanted = {key for keys in shown for key in keys}
    rows = ((row.kind, row.identifier, row.body) for row in package.rows)
    fresh = {(kind, name): read_body(body) for kind, name, body in rows if (kind, name) in wanted}
    stored = await package_diff.fetch_bodies(database, sorted(wanted))
    old = {key: read_body(body) for key, body in stored.items()}
    return [
        Part(title, len(keys), [_entity(key[0], old.get(key), fresh.get(key)) for key in few])
        for title, keys, few in zip(("Added", "Changed", "Deleted"), found, shown, strict=True)
    ]


def _entity(kind: str, old: Body | None, new: Body | None) -> Entity:
    body = new or old or Body()
    statement, was, fields = statement_of(body), "", []
    if old and new:
        was = statement_of(old)
        fields = sorted(name for name in {*old, *new} if old[name] != new[name])
    return Entity(
        kind=NAMES.get(kind, "item"),
        code=body["humanCodingScheme"] or "",
        statement=statement,
        was=was if was != statement else "",
        fields=tuple(fields),
    )


def statement_of(body: Body) -> str:
    """An entity on one line: what an item states, what an association relates, or a title."""
    if body["associationType"]:
        words = words_of(body["associationType"], origin=True)
        return f"{_name(body['originNodeURI'])} {words} {_name(body['destinationNodeURI'])}"
    return str(body["fullStatement"] or body["title"] or "")


def _name(node: dict[str, Any]) -> str:
    return str(node.get("title") or node.get("identifier"))
