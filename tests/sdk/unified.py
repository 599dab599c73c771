"""Check the unified TimeBack client and shared providers with a server of CASE only.

    python tests/sdk/unified.py BASE_URL TOKEN_URL

Needs Python 3.12 or newer with timeback-core, CASE_CLIENT_ID and CASE_CLIENT_SECRET.
"""

import asyncio
import logging
import os
import sys
from typing import Any

import made
from checks import Checks
from timeback_case import CaseClient, NotFoundError
from timeback_common import TimebackProvider
from timeback_core import TimebackClient, TimebackManager


class Unified:
    """Checks of the unified client: each way to connect writes and reads one framework."""

    def __init__(self, checks: Checks, base_url: str, token_url: str) -> None:
        self.checks, self.base_url = checks, base_url
        self.auth = {
            "auth_url": token_url,
            "client_id": os.environ["CASE_CLIENT_ID"],
            "client_secret": os.environ["CASE_CLIENT_SECRET"],
        }

    async def check_client(self, name: str, client: TimebackClient) -> None:
        """Authenticate, upload and read a framework with a client, and close it."""
        checks, package = self.checks, made.create_small_package()
        identifier = package["CFDocument"]["identifier"]
        response = await client.check_auth()
        checks.check_equal(
            f"{name}: check_auth", [response["ok"], response.get("error")], [True, None]
        )
        result = await client.case_.packages.upsert(identifier, package)
        checks.check_equal(f"{name}: packages.upsert", result.result.document_id, identifier)
        await self.read(name, client.case_, identifier)
        await client.close()
        checks.check_true(f"{name}: closed", client.closed)
        self.raises(f"{name}: used after it was closed", lambda: client.case_, "has been closed")

    async def read(self, name: str, client: CaseClient, identifier: str) -> None:
        result = (await client.packages.get_groups(identifier))["CFPackageWithGroups"]
        count = sum(len(group) for group in (result.structured_content or {}).values())
        self.checks.check_equal(f"{name}: packages.get_groups", count, 1)
        document = (await client.documents.get(identifier))["CFDocument"]
        self.checks.check_equal(f"{name}: documents.get", document.sourced_id, identifier)

    def raises(self, name: str, act: Any, says: str) -> None:
        try:
            act()
        except RuntimeError as error:
            self.checks.check_true(name, says in str(error), str(error))
        else:
            self.checks.check_true(name, holds=False)

    async def base_url_mode(self) -> None:
        await self.check_client("base URL", TimebackClient(base_url=self.base_url, **self.auth))

    async def services_mode(self) -> None:
        services = {"case": self.base_url}
        client = TimebackClient(services=services, **self.auth)
        self.raises("services: only CASE", lambda: client.oneroster, "is not configured")
        await self.check_client("services", client)

    async def provider_mode(self) -> None:
        provider = TimebackProvider(base_url=self.base_url, **self.auth)
        await self.check_client("provider", TimebackClient(provider=provider))

    async def wrong_secret(self) -> None:
        auth = self.auth | {"client_secret": "wrong"}
        async with TimebackClient(base_url=self.base_url, **auth) as client:
            response = await client.check_auth()
            refused = not response["ok"] and "invalid_client" in response["error"]
            self.checks.check_true("check_auth with a wrong secret", refused, str(response))

    async def check_shared_provider(self) -> None:
        """Check that two clients of one provider share its token and see each other's writes."""
        provider = TimebackProvider(base_url=self.base_url, **self.auth)
        package, other = made.create_small_package(), made.create_small_package()
        identifier = package["CFDocument"]["identifier"]
        async with CaseClient(provider=provider) as client, CaseClient(provider=provider) as two:
            await client.packages.create(package)
            first = await provider.get_token_manager("case").get_token()
            await self.read("shared provider", two, identifier)
            second = await provider.get_token_manager("case").get_token()
            self.checks.check_equal("shared provider: one token", first, second)
            await asyncio.gather(
                two.packages.create(other), *(client.items.list() for _ in range(5))
            )
            response = await client.packages.get(other["CFDocument"]["identifier"])
            self.checks.check_equal(
                "shared provider: items", len(response["CFPackage"].cf_items or ()), 2
            )
            call = two.items.get("unknown")
            code = "unknownobject"
            await self.checks.check_error("shared provider: errors", call, NotFoundError, 404, code)
            provider.invalidate_tokens()
            await self.read(
                "shared provider: after its tokens were invalidated", client, identifier
            )

    async def check_manager(self) -> None:
        """Check that a manager calls two named clients concurrently."""
        manager = TimebackManager()
        manager.register("one", base_url=self.base_url, **self.auth)
        manager.register("two", services={"case": self.base_url}, **self.auth)
        results = await manager.broadcast(lambda client: client.case_.documents.list())
        lists = [
            [document.sourced_id for document in value["CFDocuments"]] for value in results.values()
        ]
        await manager.close()
        self.checks.check_true("manager: both answer", results.all_succeeded, str(results.failed))
        self.checks.check_equal("manager: the same", lists[0], lists[1])


async def main(base_url: str, token_url: str) -> None:
    # The SDK logs every error that it raises.
    logging.disable()
    checks = Checks()
    unified = Unified(checks, base_url, token_url)
    await checks.run_part("base URL mode", unified.base_url_mode())
    await checks.run_part("services mode", unified.services_mode())
    await checks.run_part("provider mode", unified.provider_mode())
    await checks.run_part("a wrong secret", unified.wrong_secret())
    await checks.run_part("a shared provider", unified.check_shared_provider())
    await checks.run_part("a manager", unified.check_manager())
    checks.exit_with_result()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
