"""How fast a target goes back: reset and restore, as a client sees them, and what they rest on.

Run it with the project's environment: ``python benchmarks/target.py``. It starts an embedded
Postgres of its own, twice: one that waits for the disk, and one that does not.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

SIZES = (1_000, 11_000)
ROUNDS = 15
NOW = "2026-01-15T09:30:00.000Z"
DOCUMENT = "benchmark"
QUIET = "--no-access-log"
PAUSE = 0.5
"""Seconds a test takes, where the next copy is to be ready when it ends."""


def package(entities: int) -> dict[str, Any]:
    """A framework of half as many items, each but the first a child of the first."""
    items = [
        _entity(f"item-{number}", fullStatement="a statement") for number in range(entities // 2)
    ]
    links = [
        _entity(
            str(uuid.uuid4()),
            associationType="isChildOf",
            originNodeURI=_link(item["identifier"]),
            destinationNodeURI=_link("item-0"),
        )
        for item in items[1:]
    ]
    document = _entity(DOCUMENT, creator="a benchmark", title="a framework")
    return {"CFDocument": document, "CFItems": items, "CFAssociations": links}


def _entity(identifier: str, **fields: Any) -> dict[str, Any]:
    uri = f"urn:case:{identifier}"
    return {"identifier": identifier, "uri": uri, "lastChangeDateTime": NOW, **fields}


def _link(identifier: str) -> dict[str, str]:
    return {"title": identifier, "identifier": identifier, "uri": f"urn:case:{identifier}"}


@contextmanager
def target(*, durable: bool) -> Iterator[httpx.Client]:
    """A client of a target that is started for it, with a token."""
    with tempfile.TemporaryDirectory() as folder:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CASE_")}
        own = {"CASE_SERVER_DATA_DIR": folder, "CASE_SERVER_DURABLE": str(durable)}
        process = subprocess.Popen(
            (sys.executable, "-m", "case_server", "serve", "--target", "--port", "0", QUIET),
            env=clean | own,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout
            found = re.search(r"is ready at (\S+)", process.stdout.readline())
            assert found, "it did not start"
            with httpx.Client(base_url=found[1], timeout=120) as client:
                form = {"grant_type": "client_credentials"}
                pair = ("local-client", "local-secret")
                answer = client.post("/oauth2/token", data=form, auth=pair).raise_for_status()
                client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
                yield client
        finally:
            process.terminate()
            process.wait(timeout=60)


def write(client: httpx.Client) -> None:
    """What makes a reset necessary."""
    link = _link(DOCUMENT)
    body = _entity("item-0", fullStatement="another", CFDocumentURI=link)
    client.put("/case/1.1/CFItems/item-0", json={"item": body}).raise_for_status()


def timed(client: httpx.Client, path: str, before: Callable[[], None]) -> list[float]:
    """Milliseconds of each of some calls, as the client sees them."""
    found = []
    for _ in range(ROUNDS):
        before()
        begun = time.perf_counter()
        client.post(path).raise_for_status()
        found.append(1000 * (time.perf_counter() - begun))
    return found


def show(what: str, entities: int, found: list[float]) -> None:
    """One row of the table."""
    middle, worst = statistics.median(found), max(found)
    print(f"{what:<44}{entities:>10,}{middle:>10.1f}{worst:>10.1f}")


def measure(client: httpx.Client, entities: int) -> None:
    """Every way back, at one size."""

    def write_and_pause() -> None:
        write(client)
        time.sleep(PAUSE)

    body = package(entities)
    begun = time.perf_counter()
    client.post("/_target/seed", json=body).raise_for_status()
    show("seed", entities, [1000 * (time.perf_counter() - begun)])
    show("reset, nothing written", entities, timed(client, "/_target/reset", lambda: None))
    reset = "/_target/reset"
    show(
        "reset after a write, test of half a second",
        entities,
        timed(client, reset, write_and_pause),
    )
    show(
        "reset after a write, one after the other",
        entities,
        timed(client, reset, lambda: write(client)),
    )
    show("snapshot", entities, timed(client, "/_target/snapshots/one", lambda: write(client)))
    restore = "/_target/snapshots/one/restore"
    show("restore, test of half a second", entities, timed(client, restore, write_and_pause))
    put = [_put(client, body) for _ in range(3)]
    show("for comparison: PUT of the whole package", entities, put)


def _put(client: httpx.Client, body: dict[str, Any]) -> float:
    """Milliseconds of what one would do without a target: load everything again."""
    client.post("/_target/seed").raise_for_status()
    begun = time.perf_counter()
    client.post("/case/1.1/CFPackages", json=body).raise_for_status()
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    for durable in (True, False):
        print(f"\nPostgres {'waits' if durable else 'does not wait'} for the disk; milliseconds\n")
        print(f"{'':<44}{'entities':>10}{'median':>10}{'worst':>10}")
        with target(durable=durable) as client:
            for entities in SIZES:
                measure(client, entities)


if __name__ == "__main__":
    main()
