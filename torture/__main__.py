"""``make torture``: every part in turn, with what was tried and what went wrong.

Each part has its own Postgres and its own server; all of them together stay within ten minutes.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from . import away, described, durability, grammar, hostile, load, machine, writers
from .cluster import private_cluster
from .server import client, server

MOST_SECONDS = 240
"""How long one part may take before it is ended as a failure."""


async def _durability(seed: int) -> Any:
    return await durability.run(kills=32, seed=seed)


async def _model(seed: int) -> Any:
    with tempfile.TemporaryDirectory(prefix="case-torture-") as name:
        async with private_cluster(Path(name) / "postgres") as cluster:
            asked = await asyncio.to_thread(machine.run, cluster.url, "model", 25, 25, seed)
    return f"{asked.total():,} requests agree with the model: {dict(sorted(asked.items()))}"


async def _away(_: int) -> Any:
    return await away.run(each=170)


async def _load(seed: int) -> Any:
    return await load.run(items=11_000, seconds=20, slow=25, seed=seed)


async def _writers(seed: int) -> Any:
    return await _served(lambda _, http: writers.run(http, rounds=15, seed=seed))


async def _hostile(_: int) -> Any:
    return await _served(lambda live, _: hostile.run(live, 10), max_body_mb=10)


async def _filters(seed: int) -> Any:
    return await _served(lambda _, http: grammar.run(http, 5000, seed))


async def _described(seed: int) -> Any:
    return await _served(lambda live, _: asyncio.to_thread(described.run, live, 40, seed))


async def _served(work: Callable[[Any, Any], Awaitable[Any]], **settings: object) -> Any:
    """What comes of work with a server of its own."""
    with tempfile.TemporaryDirectory(prefix="case-torture-") as name:
        folder = Path(name)
        async with private_cluster(folder / "postgres") as cluster:
            with server(folder, cluster.url, **settings) as live:
                async with client(live) as http:
                    return await work(live, http)


PARTS: dict[str, Callable[[int], Awaitable[Any]]] = {
    "durability": _durability,
    "model": _model,
    "writers": _writers,
    "away": _away,
    "load": _load,
    "hostile": _hostile,
    "filters": _filters,
    "described": _described,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]))
@click.option("--seed", type=int, help="What chance begins with; it is printed.")
def main(parts: tuple[str, ...], seed: int | None) -> None:
    """Break the server on purpose: all PARTS, or those named. Exits with 1 when one broke."""
    seed = random.randrange(10**6) if seed is None else seed
    click.echo(f"seed {seed}")
    broken = [name for name in parts or PARTS if not _told(name, seed)]
    if broken:
        click.echo(f"broken: {', '.join(broken)}; again with --seed {seed} {' '.join(broken)}")
        sys.exit(1)


def _told(name: str, seed: int) -> bool:
    """Run a part and say what came of it; whether all was well."""
    begun = time.monotonic()
    try:
        found = asyncio.run(asyncio.wait_for(PARTS[name](seed), MOST_SECONDS))
    except Exception as error:  # noqa: BLE001  whatever it is, the other parts are run, too
        click.echo(f"{name}: failed after {time.monotonic() - begun:.0f} s: {error!r}")
        return False
    click.echo(f"{name}: {found} ({time.monotonic() - begun:.0f} s)")
    wrong: list[str] = getattr(found, "wrong", [])
    for line in wrong[:20]:
        click.echo(f"  {line}")
    return not wrong


if __name__ == "__main__":
    main()
