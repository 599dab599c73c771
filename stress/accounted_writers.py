"""Writers that record which writes were acknowledged, for ``durability``."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
from support import factories

from stress.report import Report
from stress.server import PREFIX, is_retry_later

ITEMS_IN_A_PACKAGE = 12
FOREIGN = {"targetType": "ext:elsewhere"}

State: TypeAlias = int | None
"""The version that an entity is stored in; None if the entity does not exist."""
Body: TypeAlias = factories.Body


@dataclass
class WriteRecord:
    """What a writer knows about one entity, to check later that no acknowledged write was lost.

    A correct server has stored the last acknowledged version, or one of the ``possible`` versions:
    those of writes that got no response.
    """

    path: str
    acknowledged: State = None
    possible: set[State] = field(default_factory=set)

    def is_allowed(self, state: State) -> bool:
        """Return whether a correct server may return this version (None: no such entity)."""
        return state == self.acknowledged or state in self.possible

    def record_version(self, state: State) -> None:
        """Record that exactly this version is stored, so that no other version is possible."""
        self.acknowledged, self.possible = state, set()


class Writer(ABC):
    """A client that repeatedly writes one kind of entity and records which writes succeeded."""

    kind = ""

    def __init__(self, report: Report, rng: random.Random, document: Body) -> None:
        self.report, self.rng, self.document = report, rng, document
        self.known: dict[str, WriteRecord] = {}
        self.version = 0

    @abstractmethod
    async def write(self, client: httpx.AsyncClient) -> None:
        """Send one write request, for a new entity or one that was written before."""

    async def read_version(self, response: httpx.Response) -> State:
        """Return the version of the entity in a response, which the writers put into ``notes``."""
        return int(response.json()["notes"])

    async def send_write(
        self, client: httpx.AsyncClient, known: WriteRecord, state: State, method: str, body: Any
    ) -> None:
        """Send a write of version ``state``; record whether the server acknowledged it.

        ``known`` is the record of the entity. An unexpected status is a violation.
        """
        known.possible.add(state)
        path = known.path.replace("CFAssociations", "CFItemAssociations")
        try:
            response = await client.request(method, PREFIX + path, json=body)
        except httpx.HTTPError:
            self.report.counts["unanswered writes"] += 1
            raise
        self.report.counts[f"responses {response.status_code}"] += 1
        if response.status_code in {200, 201, 204}:
            known.record_version(state)
            self.report.counts[f"acknowledged {self.kind}"] += 1
        elif response.status_code == 404 and known.is_allowed(None):
            known.record_version(None)
        elif not is_retry_later(response):
            self.report.fail(f"{method} {path}: {response.status_code} {response.text[:200]}")

    def choose_entity(self, collection: str, limit: int) -> tuple[str, WriteRecord]:
        """Choose the entity to write next, at random: a new one or one that was written before.

        There are at most ``limit`` entities. Returns the entity's identifier and its record.
        """
        self.version += 1
        if len(self.known) < limit and self.rng.random() < 0.5:
            identifier = factories.new_id()
            self.known[identifier] = WriteRecord(f"/{collection}/{identifier}")
        elif not self.known:
            return self.choose_entity(collection, limit)
        identifier = self.rng.choice(list(self.known))
        return identifier, self.known[identifier]


class ItemWriter(Writer):
    """A writer that creates and replaces up to 30 items."""

    kind = "items"

    async def write(self, client: httpx.AsyncClient) -> None:
        identifier, known = self.choose_entity("CFItems", 30)
        fields = {"notes": str(self.version), "subjectURI": [factories.link()]}
        body = factories.item(self.document["identifier"], identifier, **fields)
        await self.send_write(client, known, self.version, "PUT", body)


class AssociationWriter(Writer):
    """A writer that creates, replaces and deletes up to 20 associations."""

    kind = "associations"

    async def write(self, client: httpx.AsyncClient) -> None:
        identifier, known = self.choose_entity("CFAssociations", 20)
        if self.rng.random() < 0.25:
            return await self.send_write(client, known, None, "DELETE", None)
        body = factories.association(identifier, self.document["identifier"], identifier)
        body["originNodeURI"] |= FOREIGN
        body["notes"] = str(self.version)
        return await self.send_write(client, known, self.version, "PUT", body)


class PackageWriter(Writer):
    """A writer that replaces one package repeatedly.

    Each entity of the package contains the version number, so that a read shows whether an upload
    was stored only in part.
    """

    kind = "packages"

    async def write(self, client: httpx.AsyncClient) -> None:
        self.version += 1
        identifier, notes = self.document["identifier"], str(self.version)
        created = identifier in self.known
        known = self.known.setdefault(identifier, WriteRecord(f"/CFPackages/{identifier}"))
        items = [
            factories.packed_item(f"{identifier}-{place}", notes=notes)
            for place in range(ITEMS_IN_A_PACKAGE)
        ] + [factories.packed_item(notes=notes)]
        body = factories.package(identifier, CFItems=items, CFAssociations=_chain(items, notes))
        body["CFDocument"]["notes"] = notes
        if created and (known.acknowledged or known.possible - {None}):
            await self.send_write(client, known, self.version, "PUT", body)
        if known.acknowledged is None:
            await self._post(client, known, body)

    async def _post(self, client: httpx.AsyncClient, known: WriteRecord, body: Body) -> None:
        where = WriteRecord("/CFPackages", known.acknowledged, known.possible)
        await self.send_write(client, where, self.version, "POST", body)
        known.acknowledged, known.possible = where.acknowledged, where.possible

    async def read_version(self, response: httpx.Response) -> State:
        """Return the version of a package, or -1 if entities are missing or differ in version."""
        body = response.json()
        parts = [body["CFDocument"], *body["CFItems"], *body["CFAssociations"]]
        whole = (len(body["CFItems"]), len(body["CFAssociations"])) == (
            ITEMS_IN_A_PACKAGE + 1,
            ITEMS_IN_A_PACKAGE,
        )
        versions = {int(part["notes"]) for part in parts}
        return versions.pop() if whole and len(versions) == 1 else -1


def _chain(items: list[Body], notes: str) -> list[Body]:
    pairs = zip(items[1:], items, strict=False)
    ends = ((child["identifier"], parent["identifier"]) for child, parent in pairs)
    return [factories.association(*pair, notes=notes) for pair in ends]
