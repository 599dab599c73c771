"""A client of one API profile for tests, which asserts the status of every response."""

from collections.abc import Iterator
from typing import Any

from httpx import AsyncClient, Response
from support import factories

from case_server.api.profiles import ApiProfile


def list_collections(profile: ApiProfile) -> set[str]:
    """Return the collections that have a list in an API profile, such as ``CFDocuments``."""
    return {"CFDocuments", "CFItems", "CFSubjects"} if profile.writes else {"CFDocuments"}


class Api:
    """Sends requests to the application in one API profile and asserts the response status."""

    def __init__(self, client: AsyncClient, profile: ApiProfile) -> None:
        self.client, self.profile = client, profile

    async def send(
        self, method: str, path: str, status: int, body: Any = None, **options: Any
    ) -> Response:
        if body is not None:
            options["json"] = body
        response = await self.client.request(method, f"{self.profile.prefix}{path}", **options)
        assert response.status_code == status, (
            f"{method} {path}: {response.status_code} {response.text}"
        )
        return response

    async def get_problem_paths(
        self, method: str, path: str, body: Any, **options: Any
    ) -> list[str]:
        """Send a request that must return 422; return the JSON paths of the reported problems."""
        response = await self.send(method, path, 422, body, **options)
        return [path for path, _ in list_problems(response)]

    async def get(self, path: str, status: int = 200, **params: Any) -> Any:
        return (await self.send("GET", path, status, params=params)).json()

    async def get_entity(self, name: str, identifier: str, **params: Any) -> Any:
        """Request an entity of a class, such as ``CFItem``, and return it without its wrapper."""
        body = await self.get(f"/{name}s/{identifier}", **params)
        return body[name] if self.profile.wraps else body

    async def put(self, path: str, body: Any, status: int = 201) -> Response:
        return await self.send("PUT", f"{path}/{get_identifier(body)}", status, body)

    async def put_invalid(self, path: str, body: Any) -> list[tuple[str, str]]:
        """PUT an entity that must be refused; return the path and message of every problem."""
        return list_problems(await self.put(path, body, 422))

    def get_total(self, page: Any) -> int:
        """Return the total number of entities that a list response states."""
        return int(page["totalCount" if "totalCount" in self.profile.paging_fields else "total"])

    def list_lost_values(self, sent: Any, got: Any) -> list[str]:
        """List the values of ``sent`` that ``got`` lacks or changes, with their paths.

        ``uri`` is not compared in profiles that rewrite it.
        """
        return list(
            _list_lost_values(sent, got, "", {"uri"} if self.profile.rewrites_uris else set())
        )

    def get_expected_uri(self, sent: factories.Body, collection: str) -> str:
        """Return the ``uri`` that responses of this profile contain for a stored entity."""
        if not self.profile.rewrites_uris:
            return str(sent["uri"])
        return f"http://case.test{self.profile.prefix}/{collection}/{sent['identifier']}"

    async def get_package(self, identifier: str) -> Any:
        return await self.get_entity("CFPackage", identifier)

    async def create_document(self, **fields: Any) -> factories.Body:
        """Create a document with random content and return it."""
        body = factories.document(**fields)
        await self.put("/CFDocuments", body)
        return body

    async def create_item(self, document: factories.Body, **fields: Any) -> factories.Body:
        body = factories.item(document["identifier"], **fields)
        await self.put("/CFItems", {"item": body})
        return body

    async def create_two_items(self) -> tuple[factories.Body, factories.Body, factories.Body]:
        """Create a document with two items; return the document and both items."""
        document = await self.create_document()
        return document, await self.create_item(document), await self.create_item(document)

    async def create_association(
        self, origin: factories.Body, destination: factories.Body, **fields: Any
    ) -> factories.Body:
        body = factories.association(origin["identifier"], destination["identifier"], **fields)
        await self.put("/CFItemAssociations", {"association": body})
        return body

    async def upload_package(self, **fields: Any) -> factories.Body:
        body = factories.package(**fields)
        await self.send("POST", "/CFPackages", 201, body)
        return body


def _list_lost_values(sent: Any, got: Any, path: str, unequal: set[str]) -> Iterator[str]:
    if isinstance(sent, dict) and isinstance(got, dict):
        for name, part in sent.items():
            if name not in unequal or name not in got:
                yield from _list_lost_values(part, got.get(name), f"{path}.{name}", unequal)
    elif isinstance(sent, list) and isinstance(got, list) and len(sent) == len(got):
        for index, pair in enumerate(zip(sent, got, strict=True)):
            yield from _list_lost_values(*pair, f"{path}[{index}]", unequal)
    elif sent != got:
        yield f"{path}: {sent!r} became {got!r}"


def list_problems(response: Response) -> list[tuple[str, str]]:
    """Return the path and the message of every problem that a response with 422 reports."""
    details = response.json()["imsx_error_details"]
    return [(problem["path"], problem["message"]) for problem in details]


def get_identifier(body: Any) -> str:
    """Return the identifier of an entity, which may be inside a wrapper such as ``{"item": …}``."""
    if "identifier" in body or "sourcedId" in body:
        return str(body.get("identifier") or body["sourcedId"])
    (inner,) = body.values()
    return get_identifier(inner)
