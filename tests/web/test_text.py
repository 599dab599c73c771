"""Statements: Markdown and LaTeX are rendered, active content is not."""

import re
from pathlib import Path

import orjson
import pytest

from case_server.web.text import render_markdown, render_markdown_line, to_plain_text

MARKDOWN = [
    ("a < b & c", "<p>a &lt; b &amp; c</p>"),
    ("**bold** and *leaning*", "<p><strong>bold</strong> and <em>leaning</em></p>"),
    ("x<sup>2</sup> <em>For example</em>", "<p>x<sup>2</sup> <em>For example</em></p>"),
    ("1. one\n2. two", "<ol>\n<li>one</li>\n<li>two</li>\n</ol>"),
    ("# no heading", "<p># no heading</p>"),
    ("costs $5 and $10", "<p>costs $5 and $10</p>"),
    ("2 * 3 * 4", "<p>2 * 3 * 4</p>"),
]


@pytest.mark.parametrize(("statement", "html"), MARKDOWN)
def test_markdown_is_rendered(statement: str, html: str) -> None:
    assert render_markdown(statement).strip() == html


@pytest.mark.parametrize(
    "statement", ["$x^2$", "\\(x^2\\)", "$$x^2$$", "so \\[ x^2 \\] is", "$$\nx^2\n$$"]
)
def test_latex_is_rendered_as_mathml(statement: str) -> None:
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in render_markdown(statement)
    assert "$" not in render_markdown(statement)


@pytest.mark.parametrize(
    "latex", ["\\frac{a", "\\unheard{x}", "{" * 500, "x^", "\\begin{matrix}", "\\left("]
)
def test_invalid_latex_is_shown_as_text(latex: str) -> None:
    assert f'<code class="latex">{latex}</code>' in render_markdown(f"see ${latex}$ there")


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<em onclick=alert(1)>x</em>",
    "</article><iframe src=//elsewhere>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt&colon;alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "<javascript:alert(1)>",
    "![beacon](https://elsewhere.example/x.png)",
    "$\\href{javascript:alert(1)}{x}$",
    "$\\style{background:url(//elsewhere)}{x}$",
    "$\\text{<script>alert(1)</script>}$",
    "$\\text{&lt;script&gt;alert(1)&lt;/script&gt;}$",
    "$<script>alert(1)</script>$",
    "$$<img src=x onerror=alert(1)>$$",
    "`<script>alert(1)</script>`",
    "<em><strong>crossed</em></strong>",
    "<em>never closed",
    "</p></div>",
]

HARMLESS = re.compile(
    r"</?(p|em|strong|code|b|i|u|s|sub|sup|ul|ol|li|math|m[a-z]+)"
    r"( (display|class|displaystyle|stretchy|form|fence|width)=\"[a-z0-9.]*\")*>|<br ?/?>"
    r"|<a href=\"https?://[^\"<>]*\" rel=\"noopener noreferrer nofollow\">|</a>"
)


@pytest.mark.parametrize("statement", HOSTILE)
def test_hostile_statements_are_inert(statement: str) -> None:
    for drawn in (
        render_markdown(statement),
        render_markdown(f"before {statement} after"),
        render_markdown_line(statement),
        render_markdown_line(f"{statement} {'word ' * 100}"),
    ):
        left = HARMLESS.sub("", drawn)
        assert "<" not in left, left


def test_unbalanced_tags_are_escaped() -> None:
    for html in ("<em>a", "a</em>", "<em><b>x</em></b>", "<sub>x</sup>"):
        assert render_markdown(html).count("<") == 2  # the paragraph's own


def test_very_long_statement_is_plain_text() -> None:
    assert render_markdown("*a* " * 10_000).startswith("<p>*a* ")
    deep = "[" * 9_000 + "*" * 9_000
    assert "[[[" in render_markdown(deep)


def test_lines_contain_no_links_and_are_cut() -> None:
    assert render_markdown_line("see [this](https://a.example)\n\nand $x^2$") == (
        "see [this](https://a.example) and "
        '<math display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>'
    )
    assert render_markdown_line("<em>" + "word " * 100 + "</em>").startswith("word word")
    assert render_markdown_line("word " * 100).endswith("word…")
    assert len(render_markdown_line("x" * 10_000)) < 400


def test_plain_text_has_no_tags() -> None:
    assert to_plain_text("x<sup>2</sup>\n<br/>and  more") == "x2 and more"
    assert to_plain_text(None) == ""


def test_real_statements_are_rendered(shared: Path) -> None:
    for file in sorted((shared / "frameworks").glob("*.json")):
        for item in orjson.loads(file.read_bytes())["CFItems"]:
            statement = item["fullStatement"]
            for drawn in (render_markdown(statement), render_markdown_line(statement)):
                left = HARMLESS.sub("", drawn)
                assert not re.search(r"<[a-z/!]", left, re.IGNORECASE), (file.name, left)
