import asyncio

from timeback_case import CaseClient


async def list_titles():
    async with CaseClient() as client:
        page = await client.documents.list()
        return [document.title for document in page["CFDocuments"]]


def test_list_survives_a_503(case_reset):
    case_reset.add_fault(method="GET", path="*/CFDocuments", status=503, times=1)
    assert asyncio.run(list_titles()) == ["Reading the Sky: a short course in weather"]
    case_reset.verify(method="GET", path="*/CFDocuments", status=503, count=1)
