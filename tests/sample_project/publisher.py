"""An application that publishes items with TimeBack's SDK."""

from __future__ import annotations

from typing import Any

from timeback_case import CaseClient

NOW = "2026-01-15T09:30:00Z"
DOCUMENT = "publisher-grade-3"
PATH = "/ims/case/v1p1"


def entity(identifier: str, **fields: Any) -> dict[str, Any]:
    """Return the fields that all CASE entities have."""
    uri = f"https://example.edu/{identifier}"
    return {"identifier": identifier, "uri": uri, "lastChangeDateTime": NOW, **fields}


def link(identifier: str, title: str) -> dict[str, str]:
    """Return a link to a CASE entity."""
    return {"title": title, "identifier": identifier, "uri": f"https://example.edu/{identifier}"}


def items(count: int) -> list[dict[str, Any]]:
    """Return items of the document."""
    home = link(DOCUMENT, "Grade 3")
    return [
        entity(f"item-{number}", fullStatement=f"Statement {number}", CFDocumentURI=home)
        for number in range(1, count + 1)
    ]


async def publish(count: int) -> None:
    """Send a document and its items to the server that the environment names."""
    async with CaseClient() as client:
        document = entity(
            DOCUMENT,
            title="Grade 3",
            creator="Example District",
            caseVersion="1.1",
            CFPackageURI=link(f"{DOCUMENT}-package", "Grade 3"),
        )
        transport = client.get_transport()
        await transport.put(f"{PATH}/CFDocuments/{DOCUMENT}", document)
        for item in items(count):
            await transport.put(f"{PATH}/CFItems/{item['identifier']}", {"item": item})


async def documents(timeout: float = 30.0) -> list[str]:
    """Return the titles of all frameworks."""
    async with CaseClient(timeout=timeout) as client:
        result = await client.documents.list()
        return [document.title for document in result["CFDocuments"]]
