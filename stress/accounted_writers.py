"""Writers that keep account of what they were told, for ``durability``."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
from support import factories

PREFIX = "/case/1.1"
ITEMS_IN_A_PACKAGE = 12
FOREIGN = {"targetType": "ext:elsewhere"}

State: TypeAlias = int | None
"""The version of an entity that is stored; None: it is not there."""
Body: TypeAlias = factories.Body


@dataclass
class Known:
    """What a writer knows of one entity: what was acknowledged, and what may have happened since.

    A connection that breaks says nothing about the write that it carried.
    """

    path: str
    acknowledged: State = None
    perhaps: set[State] = field(default_factory=set)

    def allows(self, found: State) -> bool:
        """Whether a reader may find this."""
        return found == self.acknowledged or found in self.perhaps

    def settle(self, found: State) -> None:
        """Remember what was found after a crash."""
        self.acknowledged, self.perhaps = found, set()


@dataclass
class Tally:
    """What was done and found."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    unheard: int = 0
    read_back: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{count} of {what}" for what, count in sorted(self.kills.items()))
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.acknowledged.items()))
        return (
            f"{self.kills.total()} kills ({kills}); acknowledged writes: {kinds}; "
            f"{self.unheard:,} unheard of; {self.read_back:,} read back; "
            f"answers {dict(sorted(self.answers.items()))}; "
            f"{len(self.wrong)} lost or broken (seed {self.seed})"
        )


class Writer:
    """One client that writes on, and keeps account."""

    kind = ""

    def __init__(self, tally: Tally, rng: random.Random, document: Body) -> None:
        self.tally, self.rng, self.document = tally, rng, document
        self.known: dict[str, Known] = {}
        self.version = 0

    async def write(self, client: httpx.AsyncClient) -> None:
        """One write."""
        raise NotImplementedError

    async def state(self, answer: httpx.Response) -> State:
        """The version that an answer shows."""
        return int(answer.json()["notes"])

    async def send(
        self, client: httpx.AsyncClient, known: Known, state: State, method: str, body: Any
    ) -> None:
        """Send a write; afterwards it is acknowledged, refused, or unheard of."""
        known.perhaps.add(state)
        path = known.path.replace("CFAssociations", "CFItemAssociations")
        try:
            answer = await client.request(method, PREFIX + path, json=body)
        except httpx.HTTPError:
            self.tally.unheard += 1
            raise
        self.tally.answers[answer.status_code] += 1
        if answer.status_code in {200, 201, 204}:
            known.settle(state)
            self.tally.acknowledged[self.kind] += 1
        elif answer.status_code == 404 and known.allows(None):
            known.settle(None)
        elif answer.status_code != 503 or "Retry-After" not in answer.headers:
            self.tally.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")

    def next(self, plural: str, most: int) -> tuple[str, Known]:
        """An entity to write: a new one, or one from before."""
        self.version += 1
        if len(self.known) < most and self.rng.random() < 0.5:
            identifier = factories.new_id()
            self.known[identifier] = Known(f"/{plural}/{identifier}")
        elif not self.known:
            return self.next(plural, most)
        identifier = self.rng.choice(list(self.known))
        return identifier, self.known[identifier]


class ItemWriter(Writer):
    """Puts items."""

    kind = "items"

    async def write(self, client: httpx.AsyncClient) -> None:
        identifier, known = self.next("CFItems", 30)
        fields = {"notes": str(self.version), "subjectURI": [factories.link()]}
        body = factories.item(self.document["identifier"], identifier, **fields)
        await self.send(client, known, self.version, "PUT", body)


class AssociationWriter(Writer):
    """Puts associations and deletes them."""

    kind = "associations"

    async def write(self, client: httpx.AsyncClient) -> None:
        identifier, known = self.next("CFAssociations", 20)
        if self.rng.random() < 0.25:
            return await self.send(client, known, None, "DELETE", None)
        body = factories.association(identifier, self.document["identifier"], identifier)
        body["originNodeURI"] |= FOREIGN
        body["notes"] = str(self.version)
        return await self.send(client, known, self.version, "PUT", body)


class PackageWriter(Writer):
    """Replaces one package by the next: every part of it says which one it is of."""

    kind = "packages"

    async def write(self, client: httpx.AsyncClient) -> None:
        self.version += 1
        identifier, notes = self.document["identifier"], str(self.version)
        created = identifier in self.known
        known = self.known.setdefault(identifier, Known(f"/CFPackages/{identifier}"))
        items = [
            factories.packed_item(f"{identifier}-{place}", notes=notes)
            for place in range(ITEMS_IN_A_PACKAGE)
        ] + [factories.packed_item(notes=notes)]
        body = factories.package(identifier, CFItems=items, CFAssociations=_chain(items, notes))
        body["CFDocument"]["notes"] = notes
        if created and (known.acknowledged or known.perhaps - {None}):
            await self.send(client, known, self.version, "PUT", body)
        if known.acknowledged is None:
            await self._post(client, known, body)

    async def _post(self, client: httpx.AsyncClient, known: Known, body: Body) -> None:
        where = Known("/CFPackages", known.acknowledged, known.perhaps)
        await self.send(client, where, self.version, "POST", body)
        known.acknowledged, known.perhaps = where.acknowledged, where.perhaps

    async def state(self, answer: httpx.Response) -> State:
        """The one version of every part; -1 for a package that is of several."""
        body = answer.json()
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
