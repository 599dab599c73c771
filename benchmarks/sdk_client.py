"""Read with the TimeBack SDK and print the durations; runs in the SDK's environment.

Arguments: base URL, document identifier, rounds, identifiers of items. The SDK reads its
credentials from the environment.
"""

import asyncio
import json
import sys
import time

from timeback_case import CaseClient


async def main(base_url: str, document: str, rounds: int, items: list[str]) -> None:
    """Read a package and then single items with the SDK, ``rounds`` times.

    ``document`` and ``items`` are identifiers. Prints two lists as JSON: the seconds that the
    package took in each round, and the seconds that all items took.
    """
    packages, singles = [], []
    token_url = f"{base_url}/oauth2/token"
    async with CaseClient(base_url=base_url, auth_url=token_url) as client:
        await client.items.get(items[0])
        for _ in range(rounds):
            start = time.perf_counter()
            await client.packages.get(document)
            packages.append(time.perf_counter() - start)
            start = time.perf_counter()
            for item in items:
                await client.items.get(item)
            singles.append(time.perf_counter() - start)
    print(json.dumps([packages, singles]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
