"""Lists: filter, sort, fields, paging and invalid parameters (CASE binding, section 3)."""

from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.calls import Api
from support.databases import Execute, store_item_counts

from case_server.api.profiles import STANDARD_1_1, ApiProfile

LISTED = ("CFDocuments", "CFItems", "CFSubjects")
each = pytest.mark.parametrize("collection", LISTED)


async def fill(api: Api, collection: str, *fields: factories.Body) -> list[str]:
    """Store an entity for each set of fields and return their identifiers in that order."""
    if collection == "CFSubjects":
        subjects = [factories.subject(**{"code": "S", **field}) for field in fields]
        await api.upload_package(CFDefinitions={"CFSubjects": subjects})
        return [subject["identifier"] for subject in subjects]
    if collection == "CFDocuments":
        return [(await api.create_document(**field))["identifier"] for field in fields]
    document = await api.create_document()
    return [(await api.create_item(document, **field))["identifier"] for field in fields]


async def list_identifiers(api: Api, collection: str, **params: Any) -> list[str]:
    body = await api.get(f"/{collection}", **params)
    return [entity["identifier"] for entity in body[collection]]


@each
async def test_empty_list_has_paging_fields(api: Api, collection: str) -> None:
    body = await api.get(f"/{collection}")
    assert body[collection] == []
    assert body.keys() == {collection, *api.profile.paging_fields}
    paging = (api.get_total(body), body["limit"], body["offset"])
    assert paging == (0, api.profile.limits.default, 0)


@each
async def test_pages_contain_every_entity_once(api: Api, collection: str) -> None:
    stored = await fill(api, collection, *({} for _ in range(25)))
    pages = [
        await list_identifiers(api, collection, limit=4, offset=offset)
        for offset in range(0, 28, 4)
    ]
    assert [len(page) for page in pages] == [4, 4, 4, 4, 4, 4, 1]
    assert sorted(identifier for page in pages for identifier in page) == sorted(stored)


@each
async def test_paging_is_stable_for_equal_sort_keys(api: Api, collection: str) -> None:
    stored = await fill(api, collection, *({} for _ in range(9)))
    for order in ("asc", "desc"):
        params = {"limit": 2, "sort": "lastChangeDateTime", "orderBy": order}
        pages = [
            await list_identifiers(api, collection, **params, offset=offset)
            for offset in range(0, 10, 2)
        ]
        assert sorted(identifier for page in pages for identifier in page) == sorted(stored)


@each
async def test_link_headers_lead_to_all_pages(api: Api, collection: str) -> None:
    await fill(api, collection, *({} for _ in range(7)))
    response = await api.send("GET", f"/{collection}", 200, params={"limit": 3, "sort": "uri"})
    seen = [len(response.json()[collection])]
    assert response.headers["X-Total-Count"] == "7"
    while "next" in response.links:
        url = response.links["next"]["url"]
        assert url.startswith(f"http://case.test{api.profile.prefix}/{collection}?")
        response = await api.client.get(url)
        seen.append(len(response.json()[collection]))
    assert seen == [3, 3, 1]
    assert {"first", "prev", "last"} == response.links.keys()


@each
async def test_offset_beyond_the_end_returns_an_empty_page(api: Api, collection: str) -> None:
    await fill(api, collection, {})
    body = await api.get(f"/{collection}", offset=1000)
    assert (body[collection], api.get_total(body)) == ([], 1)


@each
async def test_deleted_entities_are_not_listed(api: Api, collection: str, execute: Execute) -> None:
    deleted, remaining = await fill(api, collection, {}, {})
    table = collection.removeprefix("CF").lower()
    await execute(f"UPDATE {table} SET deleted_at = now() WHERE identifier = $1", deleted)
    await store_item_counts(execute)
    body = await api.get(f"/{collection}")
    assert [entity["identifier"] for entity in body[collection]] == [remaining]
    assert api.get_total(body) == 1


@pytest.mark.parametrize("bad", ["0", "-1", "x", "1.5", " ", "maximum", "9" * 5000])
@each
async def test_invalid_limit_returns_400(api: Api, collection: str, bad: str) -> None:
    maximum = api.profile.limits.maximum
    limit = str(maximum + 1) if bad == "maximum" else bad
    response = await api.get(f"/{collection}", 400, limit=limit)
    assert str(maximum) in response["imsx_description"]


@each
async def test_maximum_limit_is_accepted(api: Api, collection: str) -> None:
    maximum = api.profile.limits.maximum
    assert (await api.get(f"/{collection}", limit=maximum))["limit"] == maximum


@pytest.mark.parametrize(
    ("parameter", "value", "message", "code"),
    [
        ("offset", "-1", "0", "invalid"),
        ("offset", "x", "0", "invalid"),
        ("sort", "colour", "title", "bad_sort"),
        ("sort", "subjectURI", "title", "bad_sort"),
        ("orderBy", "up", "asc", "bad_sort"),
        ("filter", "colour='red'", "title", "bad_filter"),
        ("filter", "title", "", "bad_filter"),
        ("filter", "title='a\x00'", "NUL", "bad_filter"),
        ("filter", "lastChangeDateTime>'soon'", "date", "bad_filter"),
        ("fields", "colour", "title", "bad_selection"),
        ("fields", "title,", "title", "bad_selection"),
    ],
)
async def test_invalid_parameter_returns_400_with_its_code(
    api: Api, parameter: str, value: str, message: str, code: Any
) -> None:
    response = await api.get("/CFDocuments", 400, **{parameter: value})
    minor = response[api.profile.code_minor_names[0]]["imsx_codeMinorField"][0]
    assert minor["imsx_codeMinorFieldValue"] == api.profile.get_minor_code(code)
    assert message in response["imsx_description"]


async def test_filter_grammar_depends_on_the_profile(api: Api) -> None:
    filter_text = "title='a' AND title='b' OR (title@'c,d')"
    if api.profile.grammar.is_extended:
        assert await list_identifiers(api, "CFDocuments", filter=filter_text) == []
    else:
        response = await api.get("/CFDocuments", 400, filter="title='a' OR title='b' OR title='c'")
        assert "at most 2" in response["imsx_description"]
        await api.get("/CFDocuments", 400, filter=filter_text)


async def test_empty_parameters_are_ignored(api: Api) -> None:
    """The SDK sends unset parameters as empty strings."""
    names = ("limit", "offset", "sort", "orderBy", "filter", "fields")
    blank: dict[str, Any] = dict.fromkeys(names, "")
    assert await api.get("/CFItems", **blank) == await api.get("/CFItems")


async def test_empty_parameters_of_standard_profiles_are_ignored(
    client: AsyncClient, any_profile: ApiProfile
) -> None:
    """Only ``fields`` of CASE 1.1 must not be empty (binding, section 3.4)."""
    api = Api(client, any_profile)
    blank: dict[str, Any] = dict.fromkeys(("limit", "offset", "sort", "orderBy", "filter"), "")
    assert await api.get("/CFDocuments", **blank) == await api.get("/CFDocuments")
    status = 400 if any_profile is STANDARD_1_1 else 200
    await client.post("/case/1.1/CFPackages", json=factories.package("blank-fields"))
    for path in ("/CFDocuments", "/CFDocuments/blank-fields", "/CFPackages/blank-fields"):
        response = await api.get(path, status, fields="")
        assert status == 400 or response == await api.get(path)


async def test_parentheses_around_two_predicates_are_accepted_on_writing_profiles(
    client: AsyncClient, any_profile: ApiProfile
) -> None:
    await client.put("/case/1.1/CFDocuments/a", json=factories.document("a", title="alpha"))
    api = Api(client, any_profile)
    for text in ("(title='alpha' OR title='beta')", "(title='alpha')"):
        response = await api.get("/CFDocuments", 200 if any_profile.writes else 400, filter=text)
        assert not any_profile.writes or len(response["CFDocuments"]) == 1


async def test_all_invalid_parameters_are_reported_at_once(api: Api) -> None:
    names = ("sort", "orderBy", "filter", "fields")
    response = await api.get("/CFItems", 400, **dict.fromkeys(names, "x"))
    problems = {problem["path"]: problem["message"] for problem in response["imsx_error_details"]}
    assert tuple(problems) == names
    assert response["imsx_description"] == "; ".join(map(": ".join, problems.items()))
    minor = response[api.profile.code_minor_names[0]]["imsx_codeMinorField"][0]
    assert minor["imsx_codeMinorFieldValue"] == api.profile.get_minor_code("bad_sort")


@each
async def test_only_selected_fields_are_returned(api: Api, collection: str) -> None:
    await fill(api, collection, {}, {})
    for params in ({"fields": "uri,sourcedId"}, {"fields": ["uri", "sourcedId"]}):
        body = await api.get(f"/{collection}", **params)
        assert [set(entity) for entity in body[collection]] == [{"uri", "sourcedId"}] * 2


async def test_sourced_id_can_be_selected_only_if_responses_have_it(
    client: AsyncClient, any_profile: ApiProfile
) -> None:
    api = Api(client, any_profile)
    await client.post("/case/1.1/CFPackages", json=factories.package("selected"))
    for path in ("/CFDocuments", "/CFDocuments/selected", "/CFPackages/selected"):
        response = await api.get(path, 200 if any_profile.sourced_ids else 400, fields="sourcedId")
        assert any_profile.sourced_ids or "'sourcedId'" in response["imsx_description"]


DOCUMENTS: list[factories.Body] = [
    {
        "title": "Alpha",
        "publisher": "O'Brien",
        "subject": ["Math", "Art"],
        "statusStartDate": "2020-01-01",
        "lastChangeDateTime": "2020-06-01T00:00:00.123456Z",
        "CFPackageURI": factories.link("package-a", "the first"),
        "subjectURI": [factories.link("subject-a", "Mathematics"), factories.link(title="Art")],
        "extensions": {"place": {"city": "Łódź"}},
    },
    {
        "title": "beta",
        "publisher": "100%_\\",
        "subject": ["Math"],
        "statusStartDate": "2021-01-01",
        "lastChangeDateTime": "2021-06-01T00:00:00+02:00",
    },
    {"title": "GAMMA", "subject": ["Reading, Writing"], "creator": "someone else"},
    {"title": "Ökologie", "subject": []},
]

EXTENDED_FILTERS = [
    ("title@'ALPHA,beta,unknown'", "01"),
    ("(title='alpha' OR title='beta') AND subject~'art'", "0"),
    ("subject@'art,reading, writing'", "0"),
    ("title='alpha' OR title='beta' OR title='gamma'", "012"),
]

FILTERS = [
    ("title='alpha'", "0"),
    ("title='ALPHA' OR title='BETA'", "01"),
    ("title!='alpha'", "123"),
    ("title~'A' AND title~'l'", "0"),
    ("title='ökologie'", "3"),
    ("title>'b'", "123"),
    ("title<='beta'", "01"),
    ("publisher='o''brien'", "0"),
    ("publisher~'%_\\'", "1"),
    ("publisher~'b%n'", ""),
    ("publisher!='x'", "0123"),
    ("publisher>'a'", "0"),
    ("subject='Math,Art'", "0"),
    ("subject='art, math'", "0"),
    ("subject='Math'", "1"),
    ("subject!='Math'", "023"),
    ("subject~'mat'", "01"),
    ("subject='reading, writing'", "2"),
    ("subject=''", "3"),
    ("subjectURI.title~'math'", "0"),
    ("subjectURI.identifier~'subject-a'", "0"),
    ("CFPackageURI.identifier='package-a'", "0"),
    ("CFPackageURI.sourcedId='PACKAGE-A'", "0"),
    ("statusStartDate>='2020-01-02'", "1"),
    ("statusStartDate='2020-01-01'", "0"),
    ("lastChangeDateTime<'2021-01-01'", "0"),
    ("lastChangeDateTime='2020-06-01T00:00:00.123Z'", "0"),
    ("lastChangeDateTime<='2021-05-31T22:00:00Z'", "01"),
    ("extensions.place.city='łódź'", "0"),
    ("caseVersion='1.1' AND creator='SOMEONE ELSE'", "2"),
    ("title='x'' OR ''1''=''1'", ""),
]


@pytest.mark.parametrize(("text", "expected"), FILTERS)
async def test_filter_returns_the_matching_documents(api: Api, text: str, expected: str) -> None:
    stored = await fill(api, "CFDocuments", *DOCUMENTS)
    names = dict(zip(stored, "0123", strict=True))
    identifiers = await list_identifiers(api, "CFDocuments", filter=text)
    assert "".join(sorted(names[document] for document in identifiers)) == expected


@pytest.mark.parametrize(("text", "expected"), EXTENDED_FILTERS)
async def test_filter_of_the_extended_grammar_returns_the_matching_documents(
    api: Api, text: str, expected: str
) -> None:
    if not api.profile.grammar.is_extended:
        await api.get("/CFDocuments", 400, filter=text)
        return
    stored = await fill(api, "CFDocuments", *DOCUMENTS)
    identifiers = await list_identifiers(api, "CFDocuments", filter=text)
    assert sorted(identifiers) == sorted(stored[int(number)] for number in expected)


async def test_filter_accepts_both_names_of_the_identifier(api: Api) -> None:
    identifier, _ = await fill(api, "CFItems", {}, {})
    for name in ("identifier", "sourcedId"):
        identifiers = await list_identifiers(
            api, "CFItems", filter=f"{name}='{identifier.upper()}'"
        )
        assert identifiers == [identifier]


async def test_total_counts_only_matches_of_the_filter(api: Api) -> None:
    await fill(api, "CFItems", *({"humanCodingScheme": f"A.{number}"} for number in range(5)), {})
    body = await api.get("/CFItems", filter="humanCodingScheme~'a.'", limit=2)
    assert (len(body["CFItems"]), api.get_total(body)) == (2, 5)


SORTS = [
    ("title", "asc", "0123"),
    ("title", "desc", "3210"),
    ("publisher", "asc", "1023"),
    ("publisher", "desc", "0132"),
    ("statusStartDate", "desc", "1032"),
    ("lastChangeDateTime", "asc", "0123"),
    ("CFPackageURI.title", "desc", "0321"),
]


@pytest.mark.parametrize(("field", "order", "expected"), SORTS)
async def test_sort_ignores_case_and_puts_missing_values_last(
    api: Api, field: str, order: str, expected: str
) -> None:
    ids = [f"doc-{number}" for number in range(4)]
    documents = [
        {"identifier": identifier, **fields}
        for identifier, fields in zip(ids, DOCUMENTS, strict=True)
    ]
    await fill(api, "CFDocuments", *documents)
    identifiers = await list_identifiers(api, "CFDocuments", sort=field, orderBy=order)
    assert [ids.index(identifier) for identifier in identifiers] == [
        int(number) for number in expected
    ]
