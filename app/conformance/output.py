"""Reports of a conformance run as text, JSON and JUnit XML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pydantic_core import to_json

from .. import __version__
from .check import CheckResult, Outcome
from .runner import ConformanceReport

LABELS: dict[Outcome, str] = {"passed": "passed ", "failed": "FAILED ", "skipped": "skipped"}
MIN_WIDTH = 60


def format_text(
    report: ConformanceReport, *, width: int | None, only_failed: bool = False, quiet: bool = False
) -> bytes:
    """Format a report as text, wrapped at ``width`` columns unless ``width`` is None.

    The first line states how many checks passed, failed and were skipped. ``only_failed`` leaves
    out the checks that passed or were skipped, and ``quiet`` leaves out all checks.
    """
    counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in LABELS)
    lines = [f"{report.url} ({report.profile}): {counts}"]
    if not quiet:
        shown_results = [
            result for result in report.results if result.outcome == "failed" or not only_failed
        ]
        lines += [*_result_lines(shown_results, width), "", *_remarks(report)]
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


def _result_lines(results: list[CheckResult], width: int | None) -> Iterator[str]:
    id_width = max((len(result.check.id) for result in results), default=0)
    for group, members in groupby(results, key=lambda result: result.group):
        yield from ("", group)
        for result in members:
            start = f"  {LABELS[result.outcome]}  {result.check.id:{id_width}}  "
            yield from _wrap(start, f"{result.check.behaviour} [{result.check.source}]", width)
            label = "reason" if result.outcome == "skipped" else "observed"
            yield from _wrap(" " * len(start), f"{label}: {result.observed}", width)


def format_json(report: ConformanceReport, *, only_failed: bool = False) -> bytes:
    """Format a report as JSON, for programs; docs/guides/conformance.md describes its structure."""
    body = {
        "tool": "case-server conformance",
        "version": __version__,
        "url": report.url,
        "profile": report.profile,
        "counts": {outcome: report.count(outcome) for outcome in LABELS},
        "checks": [
            {
                "id": result.check.id,
                "group": result.group,
                "behaviour": result.check.behaviour,
                "source": result.check.source,
                "result": result.outcome,
                "observed": result.observed,
            }
            for result in report.results
            if result.outcome == "failed" or not only_failed
        ],
        "leftovers": report.leftovers,
    }
    return to_json(body, indent=2) + b"\n"


def format_junit(report: ConformanceReport) -> bytes:
    """Return a report as JUnit XML in bytes: a test suite per group and a test case per check."""
    root = Element("testsuites", _counts(report.results), name=f"conformance {report.profile}")
    for group, members in groupby(report.results, key=lambda result: result.group):
        results = list(members)
        suite = SubElement(root, "testsuite", _counts(results), name=group)
        properties = SubElement(suite, "properties")
        SubElement(properties, "property", name="url", value=report.url)
        for result in results:
            class_name = f"conformance.{report.profile}.{group}"
            case = SubElement(suite, "testcase", name=result.check.id, classname=class_name)
            if result.outcome == "failed":
                check = result.check
                text = f"{check.behaviour}\n[{check.source}]\nobserved: {result.observed}"
                SubElement(case, "failure", message=result.observed).text = text
            elif result.outcome == "skipped":
                SubElement(case, "skipped", message=result.observed)
            else:
                SubElement(case, "system-out").text = result.observed
    indent(root)
    xml: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _counts(results: list[CheckResult]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(result.outcome == "failed" for result in results)),
        "skipped": str(sum(result.outcome == "skipped" for result in results)),
        "errors": "0",
    }


def _wrap(start: str, text: str, width: int | None) -> list[str]:
    if not width:
        return [f"{start}{text}"]
    return textwrap.wrap(
        text,
        max(width, MIN_WIDTH, len(start) + 20),
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _remarks(report: ConformanceReport) -> Iterator[str]:
    if not report.has_write_checks:
        yield "Checks that write were left out; --write runs them."
    elif report.leftovers:
        yield "Test data that the server has no way to delete:"
        yield from (f"  {leftover}" for leftover in report.leftovers)
    else:
        yield "All test data was deleted."
    if not report.has_extension_checks:
        yield "Checks of case-server's extensions were left out; --extensions runs them."
