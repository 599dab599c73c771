"""Call every method of the published TimeBack SDK against a running server.

    python tests/sdk/walk.py BASE_URL TOKEN_URL PROFILE FRAMEWORK.json...

PROFILE is ``explicit`` (a CaseClient with a base URL, which calls /ims/case/v1p1) or ``learnwith``
(a TimebackProvider with that path profile, which calls /case/1.1). It needs Python 3.12 or newer
with timeback-case, CASE_CLIENT_ID and CASE_CLIENT_SECRET, and a server without these
frameworks.
"""

import asyncio
import copy
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import frameworks
import lists
import made
import refusals
from checks import Checks
from expected import PROFILES, Body, ExpectedResponses
from server import SdkServer
from timeback_case import CaseClient, CFPackageInput, NotFoundError


class Walk:
    """All checks of one SDK client, in one API profile."""

    def __init__(self, checks: Checks, server: SdkServer, client: CaseClient) -> None:
        self.checks, self.server, self.client = checks, server, client

    def expect(self, package: Body) -> ExpectedResponses:
        return ExpectedResponses(package, self.server.profile, self.server.base_url)

    async def check_connections(self) -> None:
        """Check the ways to configure the server's URLs and the credentials."""
        base, server = self.server.base_url, self.server
        await self.check_auth("check_auth", self.client)
        for path in ("/oauth2/token", "/oauth/token", "/auth/1.0/token"):
            async with CaseClient(provider=server.provider(auth_url=base + path)) as client:
                await self.check_auth(f"check_auth at {path}", client)
        async with CaseClient(provider=server.provider(base_url=f"{base}/")) as client:
            await client.documents.list()
            self.checks.check_true("a base URL that ends with a slash", holds=True)
        os.environ |= {"CASE_BASE_URL": base, "CASE_TOKEN_URL": server.token_url}
        if server.profile.name == "explicit":
            async with CaseClient() as client:
                await client.documents.list()
                self.checks.check_true("addresses from the environment", holds=True)

    async def check_auth(self, name: str, client: CaseClient) -> None:
        response = await client.check_auth()
        self.checks.check_equal(name, [response["ok"], response.get("error")], [True, None])

    async def file(self, file: str) -> None:
        await self.check_framework(read_framework(file))

    async def check_framework(self, package: Body) -> None:
        """Upload a whole framework, and read it back with every method."""
        expected = self.expect(package)
        await frameworks.check_upload(self.checks, self.client, package, expected)
        await frameworks.check_reads(self.checks, self.client, expected)

    async def check_replacement(self, package: Body) -> None:
        """Check that upsert creates and replaces a framework, and that update replaces one."""
        checks, client = self.checks, self.client
        expected = self.expect(package)
        result = await client.packages.upsert(expected.identifier, package)
        frameworks.check_result(checks, "packages.upsert of a new framework", result, expected)
        await frameworks.check_reads(checks, client, expected)
        changed = self._changed(package)
        result = await client.packages.upsert(expected.identifier, changed)
        frameworks.check_result(checks, "packages.upsert again", result, self.expect(changed))
        await frameworks.check_reads(checks, client, self.expect(changed))
        removed = package["CFItems"][1]["identifier"]
        call = client.items.get(removed)
        await checks.check_error("an item left out", call, NotFoundError, 404, "unknownobject")
        model = CFPackageInput.model_validate(package)
        result = await client.packages.update(expected.identifier, model)
        frameworks.check_result(checks, "packages.update with a model", result, expected)
        await frameworks.check_reads(checks, client, expected)

    @staticmethod
    def _changed(package: Body) -> Body:
        """Return a copy of a package with another title and statement, and without one item.

        The associations of that item are removed, too.
        """
        changed = copy.deepcopy(package)
        changed["CFDocument"]["title"] = "Another title"
        changed["CFDocument"].pop("notes", None)
        changed["CFItems"][0]["fullStatement"] = "Another statement"
        removed = changed["CFItems"].pop(1)["identifier"]
        changed["CFAssociations"] = [
            each
            for each in changed["CFAssociations"]
            if removed
            not in {each[f"{end}NodeURI"]["identifier"] for end in ("origin", "destination")}
        ]
        return changed

    async def run_all(self, files: Sequence[str]) -> None:
        checks, client, server = self.checks, self.client, self.server
        unusual, small = made.create_unusual_package(), made.create_small_package()
        await checks.run_part("connecting", self.check_connections())
        for file in files:
            await checks.run_part(Path(file).name, self.file(file))
        await checks.run_part(
            "the documented example", self.check_framework(made.create_documented_package())
        )
        await checks.run_part("an unusual framework", self.check_replacement(unusual))
        await checks.run_part("lists", lists.check_lists(checks, client, self.expect(unusual)))
        await checks.run_part("a small framework", self.check_framework(small))
        await checks.run_part("unknown", refusals.check_not_found(checks, client, server))
        await checks.run_part("invalid", refusals.check_invalid_bodies(checks, client))
        await checks.run_part("conflicts", refusals.check_conflicts(checks, client, small))
        await checks.run_part("parameters", refusals.check_parameters(checks, client, server))
        await checks.run_part(
            "rejected authentication", refusals.check_authentication(checks, server)
        )
        await checks.run_part("authorisation", refusals.check_authorisation(checks, server, small))


def read_framework(file: str) -> Body:
    """Read a CASE package from a file, with its licence link as the string that the SDK expects."""
    package: Body = json.loads(Path(file).read_text())
    package = package.get("CFPackage", package)
    document = package["CFDocument"]
    if licence := document.get("licenseURI"):
        document["licenseUri"] = licence["uri"]
    return package


async def main(base_url: str, token_url: str, profile: str, *files: str) -> None:
    # The SDK logs every error that it raises.
    logging.disable()
    checks, server = Checks(), SdkServer(base_url, token_url, PROFILES[profile])
    async with server.client() as client:
        await Walk(checks, server, client).run_all(files)
    checks.exit_with_result()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
