"""Writers that record which writes were acknowledged, for ``durability``."""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
from support import factories

from stress.report import ScenarioReport
from stress.server import PREFIX, asks_to_retry

ITEMS_IN_A_PACKAGE = 12
FOREIGN = {"targetType": "ext:elsewhere"}

Version: TypeAlias = int | None
"""The version number of a stored entity; None if the entity does not exist."""
Body: TypeAlias = factories.Body


@dataclass
class WriteRecord:
    """Versions of one entity that may be stored, to check that no acknowledged write is lost.

    A write without a response may be stored or not. So a correct server has stored the last
    acknowledged version, or one of the ``possible`` versions, whose writes got no response.
    """

    path: str
    acknowledged: Version = None
    possible: set[Version] = field(default_factory=set)

    def is_allowed(self, version: Version) -> bool:
        """Return whether the server may have stored ``version``; None stands for no entity."""
        return version == self.acknowledged or version in self.possible

    def record_version(self, version: Version) -> None:
        """Record that exactly this version of the entity is stored, and no other is possible."""
        self.acknowledged, self.possible = version, set()


class EntityWriter(ABC):
    """A client that repeatedly writes one kind of entity and records which writes succeeded."""

    kind = ""

    def __init__(self, report: ScenarioReport, rng: random.Random, document: Body) -> None:
        self.report, self.rng, self.document = report, rng, document
        self.records: dict[str, WriteRecord] = {}
        self.version = 0

    @abstractmethod
    async def write(self, client: httpx.AsyncClient) -> None:
        """Send one write request, for a new or an existing entity."""

    def parse_version(self, response: httpx.Response) -> Version:
        """Return the version of the entity in a response; writers store it in ``notes``."""
        return int(response.json()["notes"])

    async def send_write(
        self,
        client: httpx.AsyncClient,
        record: WriteRecord,
        version: Version,
        method: str,
        body: Any,
    ) -> None:
        """Send a new version of an entity, and note in ``record`` whether it was acknowledged.

        An unexpected status is a violation.
        """
        record.possible.add(version)
        path = record.path.replace("CFAssociations", "CFItemAssociations")
        try:
            response = await client.request(method, PREFIX + path, json=body)
        except httpx.HTTPError:
            self.report.counts["unanswered writes"] += 1
            raise
        self.report.counts[f"responses {response.status_code}"] += 1
        if response.status_code in {200, 201, 204}:
            record.record_version(version)
            self.report.counts[f"acknowledged {self.kind}"] += 1
        elif response.status_code == 404 and record.is_allowed(None):
            record.record_version(None)
        elif not asks_to_retry(response):
            self.report.record_violation(
                f"{method} {path}: {response.status_code} {response.text[:200]}"
            )

    def choose_entity(self, collection: str, limit: int) -> tuple[str, WriteRecord]:
        """Choose at random the entity to write next: a new entity or an existing one.

        There are at most ``limit`` entities. Returns the identifier of the entity and the record of
        its writes.
        """
        self.version += 1
        if len(self.records) < limit and self.rng.random() < 0.5:
            identifier = factories.new_id()
            self.records[identifier] = WriteRecord(f"/{collection}/{identifier}")
        elif not self.records:
            return self.choose_entity(collection, limit)
        identifier = self.rng.choice(list(self.records))
        return identifier, self.records[identifier]


class ItemWriter(EntityWriter):
    """Creates and replaces up to 30 items."""

    kind = "items"

    async def write(self, client: httpx.AsyncClient) -> None:
        identifier, record = self.choose_entity("CFItems", 30)
        fields = {"notes": str(self.version), "subjectURI": [factories.link()]}
        body = factories.item(self.document["identifier"], identifier, **fields)
        await self.send_write(client, record, self.version, "PUT", body)


class AssociationWriter(EntityWriter):
    """Creates, replaces and deletes up to 20 associations."""

    kind = "associations"

    async def write(self, client: httpx.AsyncClient) -> None:
        identifier, record = self.choose_entity("CFAssociations", 20)
        if self.rng.random() < 0.25:
            return await self.send_write(client, record, None, "DELETE", None)
        body = factories.association(identifier, self.document["identifier"], identifier)
        body["originNodeURI"] |= FOREIGN
        body["notes"] = str(self.version)
        return await self.send_write(client, record, self.version, "PUT", body)


class PackageWriter(EntityWriter):
    """Replaces one package repeatedly.

    Each entity of the package contains the version number, so that a read shows whether an upload
    was only partially stored.
    """

    kind = "packages"

    async def write(self, client: httpx.AsyncClient) -> None:
        self.version += 1
        identifier, notes = self.document["identifier"], str(self.version)
        is_created = identifier in self.records
        record = self.records.setdefault(identifier, WriteRecord(f"/CFPackages/{identifier}"))
        items = [
            factories.packed_item(f"{identifier}-{place}", notes=notes)
            for place in range(ITEMS_IN_A_PACKAGE)
        ] + [factories.packed_item(notes=notes)]
        body = factories.package(identifier, CFItems=items, CFAssociations=_chain(items, notes))
        body["CFDocument"]["notes"] = notes
        if is_created and (record.acknowledged or record.possible - {None}):
            await self.send_write(client, record, self.version, "PUT", body)
        if record.acknowledged is None:
            await self._post(client, record, body)

    async def _post(self, client: httpx.AsyncClient, record: WriteRecord, body: Body) -> None:
        post_record = WriteRecord("/CFPackages", record.acknowledged, record.possible)
        await self.send_write(client, post_record, self.version, "POST", body)
        record.acknowledged, record.possible = post_record.acknowledged, post_record.possible

    def parse_version(self, response: httpx.Response) -> Version:
        """Return the version of a package, or -1 if entities are missing or differ in version."""
        body = response.json()
        parts = [body["CFDocument"], *body["CFItems"], *body["CFAssociations"]]
        is_complete = (len(body["CFItems"]), len(body["CFAssociations"])) == (
            ITEMS_IN_A_PACKAGE + 1,
            ITEMS_IN_A_PACKAGE,
        )
        versions = {int(part["notes"]) for part in parts}
        return versions.pop() if is_complete and len(versions) == 1 else -1


def _chain(items: list[Body], notes: str) -> list[Body]:
    pairs = zip(items[1:], items, strict=False)
    ends = ((child["identifier"], parent["identifier"]) for child, parent in pairs)
    return [factories.association(*pair, notes=notes) for pair in ends]
