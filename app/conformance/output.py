"""What a run found, for people, as JSON and as JUnit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pydantic_core import to_json

from .. import __version__
from .check import Result
from .runner import Report

WORDS = {"pass": "pass", "fail": "FAIL", "skip": "skip"}
NARROWEST = 60


def format_text(report: Report, *, width: int | None) -> bytes:
    """A table, as lines of a width or as long as they are."""
    wide = max(len(one.check.id) for one in report.results)
    lines = [_heading(report)]
    for group, members in groupby(report.results, key=lambda one: one.group):
        lines += ["", group]
        for one in members:
            begins = f"  {WORDS[one.outcome]}  {one.check.id:{wide}}  "
            lines += _filled(begins, f"{one.check.behaviour} [{one.check.source}]", width)
            lines += _filled(" " * len(begins), f"{_seen_as(one)}: {one.observed}", width)
    lines += ["", *_remarks(report)]
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


def format_json(report: Report) -> bytes:
    """Everything, in the shape that docs/conform.md describes."""
    body = {
        "tool": "case-server conform",
        "version": __version__,
        "url": report.url,
        "profile": report.profile,
        "counts": {outcome: report.count(outcome) for outcome in ("pass", "fail", "skip")},
        "checks": [
            {
                "id": one.check.id,
                "group": one.group,
                "behaviour": one.check.behaviour,
                "source": one.check.source,
                "result": one.outcome,
                "seen": one.observed,
            }
            for one in report.results
        ],
        "kept": report.leftovers,
    }
    return to_json(body, indent=2) + b"\n"


def format_junit(report: Report) -> bytes:
    """A suite for each group and a case for each check, as CI services read them."""
    root = Element("testsuites", _counts(report.results), name=f"conform {report.profile}")
    for group, members in groupby(report.results, key=lambda one: one.group):
        found = list(members)
        suite = SubElement(root, "testsuite", _counts(found), name=group)
        properties = SubElement(suite, "properties")
        SubElement(properties, "property", name="url", value=report.url)
        for one in found:
            name = f"conform.{report.profile}.{group}"
            case = SubElement(suite, "testcase", name=one.check.id, classname=name)
            if one.outcome == "fail":
                told = f"{one.check.behaviour}\n[{one.check.source}]\nseen: {one.observed}"
                SubElement(case, "failure", message=one.observed).text = told
            elif one.outcome == "skip":
                SubElement(case, "skipped", message=one.observed)
            else:
                SubElement(case, "system-out").text = one.observed
    indent(root)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _counts(results: list[Result]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(one.outcome == "fail" for one in results)),
        "skipped": str(sum(one.outcome == "skip" for one in results)),
        "errors": "0",
    }


def _heading(report: Report) -> str:
    holds, differs, unseen = (report.count(one) for one in ("pass", "fail", "skip"))
    return (
        f"{report.url} as {report.profile}: {holds} {'holds' if holds == 1 else 'hold'}, "
        f"{differs} {'does' if differs == 1 else 'do'} not, {unseen} could not be seen"
    )


def _seen_as(one: Result) -> str:
    return "not seen" if one.outcome == "skip" else "seen"


def _filled(begins: str, text: str, width: int | None) -> list[str]:
    if not width:
        return [f"{begins}{text}"]
    wide = max(width, NARROWEST, len(begins) + 20)
    return textwrap.wrap(
        text,
        wide,
        initial_indent=begins,
        subsequent_indent=" " * len(begins),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _remarks(report: Report) -> Iterator[str]:
    if not report.written:
        yield "Nothing was written; where a profile writes, --write tries that, too."
    elif report.leftovers:
        yield "The server has no way to delete these, which the run wrote:"
        yield from (f"  {one}" for one in report.leftovers)
    else:
        yield "What the run wrote is taken away again."
    if not report.extensions:
        yield "What only case-server promises was left out; --extensions tries it, too."
