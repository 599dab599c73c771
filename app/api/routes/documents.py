"""CFDocuments: one document, the list of documents, and PUT of a document."""

from fastapi import APIRouter, Request, Response

from ...case.model import CFDocument, CFPckgDocument, LinkURI
from ...case.parsing import ParsedBody
from ...case.problems import REQUIRED
from ...case.resources import DOCUMENTS
from ...db.write import entities as store
from ...exceptions import UnprocessableContent
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..request_body import RawBody
from ..routing import CompiledRoute
from . import puts
from .entities import respond_with_entity, respond_with_list_page

router = APIRouter(prefix="/CFDocuments", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFDocuments", route_class=CompiledRoute)

WRAPPERS = ("document", "CFDocument")


class _LenientDocumentBody(CFPckgDocument):
    """The body of a PUT of a document whose stored form lacks ``caseVersion``: it may be absent.

    Packages may contain such documents, and a client must be able to send back what it read.
    """

    CFPackageURI: LinkURI


@router.get(
    "",
    operation_id="getAllCFDocuments",
    summary="List CFDocuments",
    responses=operations.describe_list_response(DOCUMENTS) | operations.describe_errors(400),
    openapi_extra=operations.describe_list_parameters(DOCUMENTS),
)
async def list_documents(
    _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """List documents."""
    return await respond_with_list_page(DOCUMENTS, request, db, renderer)


@router.get(
    "/{sourcedId}",
    operation_id="getCFDocument",
    summary="Get a CFDocument",
    response_model=CFDocument,
    response_description="The CFDocument.",
    responses=operations.describe_errors(400, 404),
    openapi_extra=operations.describe_query_parameters(*operations.ENTITY_PARAMETERS),
)
async def get_document(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    renderer: RendererDep,
) -> Response:
    """Return one document."""
    return await respond_with_entity(DOCUMENTS, sourced_id, request, db, renderer)


@vendor_router.put(
    "/{sourcedId}",
    operation_id="putCFDocument",
    summary="Create or replace a CFDocument",
    openapi_extra=operations.describe_request_body("CFDocument", examples.DOCUMENT),
    **puts.OPTIONS,
)
async def put_document(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Create or replace a document, without storing ``echoed`` values. Returns 201."""
    body: ParsedBody[CFPckgDocument]
    try:
        body = await puts.parse_entity(request, sourced_id, raw_body, CFDocument, WRAPPERS)
    except UnprocessableContent as error:
        if not _lacks_only_case_version(error):
            raise
        if not await store.document_lacks_case_version(db, sourced_id):
            raise
        body = await puts.parse_entity(
            request, sourced_id, raw_body, _LenientDocumentBody, WRAPPERS
        )
    await store.put_document(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=puts.CREATED)


def _lacks_only_case_version(error: UnprocessableContent) -> bool:
    problems = [
        (problem["path"].rpartition(".")[2], problem["message"]) for problem in error.problems
    ]
    return problems == [("caseVersion", REQUIRED)]
