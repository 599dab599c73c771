"""The TimeBack SDK at work, in an interpreter that has it: prints how long reading takes.

Arguments: base URL, document identifier, rounds, then identifiers of items. Credentials come from
the environment, as the SDK reads them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from timeback_case import CaseClient


async def main(base_url: str, document: str, rounds: int, items: list[str]) -> None:
    """Fetch the package, then the items one after the other, as often as said."""
    packages, singles = [], []
    token_url = f"{base_url}/oauth2/token"
    async with CaseClient(base_url=base_url, auth_url=token_url) as client:
        await client.items.get(items[0])
        for _ in range(rounds):
            started = time.perf_counter()
            await client.packages.get(document)
            packages.append(time.perf_counter() - started)
            started = time.perf_counter()
            for item in items:
                await client.items.get(item)
            singles.append(time.perf_counter() - started)
    print(json.dumps([packages, singles]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
