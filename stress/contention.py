"""Concurrent writers of the same entity, triple and package, and in opposite orders.

Every response must be a success, a real conflict, or 503 with Retry-After, and the stored state
must be one that the server acknowledged.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from httpx import AsyncClient
from support import factories

from stress.report import ScenarioReport
from stress.server import PREFIX, asks_to_retry
from stress.timer import ScenarioTimer

WRITERS = 16
WRITES = "writes"


class ConflictScenario:
    """Sixteen concurrent writers of one framework, whose writes conflict with each other.

    Each method causes one kind of conflict and checks the responses and the stored result.
    """

    def __init__(self, http: AsyncClient, rng: random.Random) -> None:
        self.http, self.rng, self.report = http, rng, ScenarioReport()
        self.document = factories.new_id()

    async def send_with_retry(
        self, name: str, method: str, path: str, body: Any, *allowed: int
    ) -> int:
        """Send a write, and retry it while the response is 503; return the last status.

        A status that is not in ``allowed`` is a violation. ``name`` is the kind of conflict in the
        report.
        """
        while True:
            response = await self.http.request(method, PREFIX + path, json=body)
            self.report.counts[WRITES] += 1
            self.report.record_response(
                name, response, (*allowed, 503) if asks_to_retry(response) else allowed
            )
            if not asks_to_retry(response):
                return response.status_code
            await asyncio.sleep(0.1)

    async def get(self, path: str) -> Any:
        """Return the JSON of the entity or package at a path, or None if the server has none."""
        response = await self.http.get(PREFIX + path)
        return response.json() if response.status_code == 200 else None

    async def create_document(self) -> None:
        """Create the document to which all items of the scenario belong."""
        body = factories.document(self.document)
        await self.send_with_retry("document", "PUT", f"/CFDocuments/{self.document}", body, 201)

    async def put_same_item(self) -> None:
        """Have all writers PUT one item; the result must match one of the acknowledged writes."""
        path, last = f"/CFItems/{factories.new_id()}", {}

        async def write(number: int) -> None:
            notes = f"{number}-{factories.new_id()}"
            links = [factories.link(f"s{number}") for number in self.rng.sample(range(8), 4)]
            body = factories.item(self.document, path.rpartition("/")[2], notes=notes)
            body |= {"subjectURI": links, "conceptKeywordsURI": links}
            await self.send_with_retry("same item", "PUT", path, body, 201)
            last[notes] = [link["identifier"] for link in links]

        await asyncio.gather(*(write(number) for number in range(WRITERS)))
        stored = await self.get(path)
        subjects = [link["identifier"] for link in stored["subjectURI"]]
        if last.get(stored["notes"]) != subjects:
            self.report.record_violation(
                f"same item: {subjects} are not those of {stored['notes']}"
            )

    async def put_same_association(self) -> None:
        """Have all writers PUT an association with their own identifier; only one may succeed.

        Two associations are the same if their origin, destination and type are equal.
        """
        ends = [f"{self.document}-{end}" for end in "ab"]
        for end in ends:
            body = factories.item(self.document, end)
            await self.send_with_retry("ends", "PUT", f"/CFItems/{end}", body, 201)
        acknowledged = []

        async def write() -> None:
            body = factories.association(*ends, associationType="precedes")
            path = f"/CFItemAssociations/{body['identifier']}"
            if await self.send_with_retry("same triple", "PUT", path, body, 201, 409) == 201:
                acknowledged.append(path)

        await asyncio.gather(*(write() for _ in range(WRITERS)))
        if (count := len(acknowledged)) != 1:
            self.report.record_violation(f"same triple: {count} writes were acknowledged")
        for path in acknowledged:
            await self.send_with_retry("same triple", "DELETE", path, None, 204)

    async def replace_same_package(self) -> None:
        """Have all writers replace one package; the result must equal the package of one writer."""
        identifier = factories.new_id()
        items = [factories.packed_item() for _ in range(40)]
        bodies = [self._build_package(identifier, items, number) for number in range(WRITERS)]
        await self.send_with_retry("same package", "POST", "/CFPackages", bodies[0], 201)
        path = f"/CFPackages/{identifier}"
        await asyncio.gather(
            *(self.send_with_retry("same package", "PUT", path, body, 200) for body in bodies),
            *(self.get(path) for _ in range(4)),
        )
        stored = await self.get(path)
        versions = {part["notes"] for part in (stored["CFDocument"], *stored["CFItems"])}
        if len(versions) != 1 or len(stored["CFItems"]) != len(items):
            self.report.record_violation(f"same package: it is of {sorted(versions)}")

    async def write_same_document(self) -> None:
        """Write a document, its package and its items concurrently, from all writers.

        All of these entities link to the same definitions, so that the writes lock the same rows.
        """
        identifier = factories.new_id()
        package = self._build_package(identifier, [factories.packed_item() for _ in range(10)], 0)
        await self.send_with_retry("same document", "POST", "/CFPackages", package, 201)
        kinds = [f"kind-{factories.new_id()}" for _ in range(6)]

        def links() -> list[Any]:
            return [factories.link(name) for name in self.rng.sample(kinds, 4)]

        async def put_document() -> None:
            body = factories.document(identifier, subjectURI=links())
            path = f"/CFDocuments/{identifier}"
            await self.send_with_retry("same document", "PUT", path, body, 201)

        async def put_package() -> None:
            body = {**package, "CFItems": [{**item, "subjectURI": links()} for item in items]}
            body["CFDocument"] = {**package["CFDocument"], "subjectURI": links()}
            path = f"/CFPackages/{identifier}"
            await self.send_with_retry("same document", "PUT", path, body, 200)

        async def put_item() -> None:
            body = factories.item(identifier, self.rng.choice(items)["identifier"])
            body |= {"subjectURI": links(), "conceptKeywordsURI": links()}
            path = f"/CFItems/{body['identifier']}"
            await self.send_with_retry("same document", "PUT", path, body, 201)

        items = package["CFItems"]
        writes = [*[put_document] * 4, *[put_package] * 4, *[put_item] * 8]
        self.rng.shuffle(writes)
        await asyncio.gather(*(write() for write in writes))

    def _build_package(self, identifier: str, items: list[Any], number: int) -> factories.Body:
        """Build version ``number`` of a package; even versions list ``items`` in reverse order.

        Writes of an odd and an even version then lock the same rows in opposite orders.
        """
        ordered = items if number % 2 else items[::-1]
        notes = str(number)
        kinds = [factories.item_type(f"shared-{index}", description=notes) for index in range(10)]
        body = factories.package(
            identifier,
            CFItems=[{**item, "notes": notes} for item in ordered],
            CFAssociations=[],
            CFDefinitions={"CFItemTypes": kinds if number % 2 else kinds[::-1]},
        )
        body["CFDocument"]["notes"] = notes
        return body

    async def write_in_opposite_orders(self) -> None:
        """Write packages, items and item types that lock the same rows in different orders.

        Postgres then detects deadlocks, and the server must retry these writes.
        """
        kinds = [f"shared-{index}" for index in range(10)]
        bodies = [
            self._build_package(factories.new_id(), [], number) for number in range(WRITERS // 2)
        ]
        writes: list[Callable[[], Awaitable[int]]] = [
            *(
                lambda body=body: self.send_with_retry("opposite", "POST", "/CFPackages", body, 201)
                for body in bodies
            ),
            *(lambda kind=kind: self._put_type(kind) for kind in self.rng.sample(kinds, 8)),
            *(lambda: self._put_item_linking(self.rng.sample(kinds, 5)) for _ in range(8)),
        ]
        self.rng.shuffle(writes)
        await asyncio.gather(*(write() for write in writes))

    async def _put_type(self, kind: str) -> int:
        body = factories.item_type(kind, description=factories.new_id())
        return await self.send_with_retry("opposite", "PUT", f"/CFItemTypes/{kind}", body, 201)

    async def _put_item_linking(self, names: list[str]) -> int:
        links = [factories.link(name) for name in names]
        body = factories.item(self.document, subjectURI=links, conceptKeywordsURI=links[::-1])
        return await self.send_with_retry(
            "opposite", "PUT", f"/CFItems/{body['identifier']}", body, 201
        )


async def run_same_item_conflicts(http: AsyncClient, rounds: int, seed: int) -> ScenarioReport:
    """Have sixteen writers PUT the same item concurrently, ``rounds`` times."""
    scenario = ConflictScenario(http, random.Random(seed))
    await scenario.create_document()
    for _ in range(rounds):
        await scenario.put_same_item()
    return scenario.report


async def run_conflicts(
    http: AsyncClient, rounds: int, seed: int, timer: ScenarioTimer | None = None
) -> ScenarioReport:
    """Cause each kind of conflict between concurrent writers ``rounds`` times; return a report.

    Stops early if the time limit of ``timer`` is reached.
    """
    timer = timer or ScenarioTimer()
    scenario = ConflictScenario(http, random.Random(seed))
    await scenario.create_document()
    for number in range(rounds):
        timer.report_progress(f"{number} of {rounds} rounds")
        if timer.is_expired:
            break
        await scenario.put_same_item()
        await scenario.put_same_association()
        await scenario.replace_same_package()
        await scenario.write_same_document()
        await scenario.write_in_opposite_orders()
    return scenario.report
