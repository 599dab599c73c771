"""CFDocuments: one document, the list of documents, and PUT of a document."""

from fastapi import APIRouter, Request, Response

from ...case.model import CFDocument, CFPckgDocument, LinkURI
from ...case.resources import DOCUMENTS
from ...case.validation.parsing import ParsedBody
from ...case.validation.problems import REQUIRED
from ...db.write import entities as store
from ...exceptions import UnprocessableContent
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..request_body import RawBody, parse_entity
from ..routing import CompiledRoute
from .entities import respond_with_entity, respond_with_list_page

router = APIRouter(prefix="/CFDocuments", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFDocuments", route_class=CompiledRoute)

WRAPPERS = ("document", "CFDocument")


class _LenientDocumentBody(CFPckgDocument):
    """The body of a PUT that replaces a document stored without ``caseVersion``.

    Such documents come from packages. ``caseVersion`` may be omitted here, so that a client can
    send back what it read.
    """

    CFPackageURI: LinkURI


@router.get("", **operations.describe_list(DOCUMENTS))
async def list_documents(
    _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """List documents."""
    return await respond_with_list_page(DOCUMENTS, request, db, renderer)


@router.get("/{sourcedId}", **operations.describe_get(DOCUMENTS))
async def get_document(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    renderer: RendererDep,
) -> Response:
    """Return one document."""
    return await respond_with_entity(DOCUMENTS, sourced_id, request, db, renderer)


@vendor_router.put("/{sourcedId}", **operations.describe_put(DOCUMENTS, examples.DOCUMENT))
async def put_document(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Create or replace a document; the response is 201 without a body in both cases.

    `caseVersion` may be omitted if the stored document lacks it.
    """
    body: ParsedBody[CFPckgDocument]
    try:
        body = await parse_entity(request, sourced_id, raw_body, CFDocument, WRAPPERS)
    except UnprocessableContent as error:
        if not _lacks_only_case_version(error):
            raise
        if not await store.document_lacks_case_version(db, sourced_id):
            raise
        body = await parse_entity(request, sourced_id, raw_body, _LenientDocumentBody, WRAPPERS)
    await store.put_document(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=201)


def _lacks_only_case_version(error: UnprocessableContent) -> bool:
    problems = [
        (problem["path"].rpartition(".")[2], problem["message"]) for problem in error.problems
    ]
    return problems == [("caseVersion", REQUIRED)]
