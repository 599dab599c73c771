"""What frameworks say, made safe to show: markdown, LaTeX as MathML, everything else escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from html import unescape
from typing import Any
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup, escape
from mdit_py_plugins.dollarmath import dollarmath_plugin

LONGEST = 20_000
"""A longer statement is shown as it is written."""

LONGEST_FORMULA = 1_000

LINE = 320
"""The characters of a statement that a line shows."""

LINE_RULES = ("escape", "backticks", "emphasis", "strikethrough")
"""What is read as markdown everywhere. Elsewhere than in a line also lists and links; nothing that
makes headings, and no images, which would be fetched."""

TAG = re.compile(r"<(/?)(b|em|i|strong|sub|sup|u)>|<br ?/?>")
"""The only HTML that is let through: marks on words, without attributes."""

ELEMENTS = frozenset(
    [
        "math",
        "merror",
        "mfrac",
        "mi",
        "mn",
        "mo",
        "mover",
        "mpadded",
        "mphantom",
        "mroot",
        "mrow",
        "ms",
        "mspace",
        "msqrt",
        "mstyle",
        "msub",
        "msubsup",
        "msup",
        "mtable",
        "mtd",
        "mtext",
        "mtr",
        "munder",
        "munderover",
        "mmultiscripts",
        "mprescripts",
        "none",
    ]
)
ATTRIBUTES = frozenset(
    [
        "accent",
        "columnalign",
        "columnlines",
        "columnspacing",
        "depth",
        "display",
        "displaystyle",
        "fence",
        "form",
        "height",
        "linethickness",
        "lspace",
        "mathvariant",
        "maxsize",
        "minsize",
        "movablelimits",
        "notation",
        "rowlines",
        "rowspacing",
        "rspace",
        "scriptlevel",
        "separator",
        "stretchy",
        "symmetric",
        "voffset",
        "width",
    ]
)
"""MathML that draws, and nothing of it that links, styles or runs."""

PARTS = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}
"""How many parts an element must have; a formula that was broken off has fewer."""

BRACKETS = re.compile(r"\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
"""The other way to write formulas in a text."""


def moment(value: str | None) -> str:
    """A stored time as a day."""
    if not value:
        return ""
    day = datetime.fromisoformat(value)
    return f"{day.day} {day:%B %Y}"


def second(value: datetime) -> str:
    """A moment as a day and the time of it."""
    moment = value.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"


def plain(statement: str | None) -> str:
    """A statement on one line, without marks on words; to be escaped where it is shown."""
    words = TAG.sub(lambda tag: "" if tag[2] else " ", statement or "")
    return " ".join(words.split())


@lru_cache(maxsize=2048)
def rich(statement: str | None) -> Markup:
    """A statement as HTML that can do nothing but be read."""
    statement = statement or ""
    if len(statement) > LONGEST:
        return Markup("<p>{}</p>").format(statement)
    tags = {"tags": _is_balanced(statement)}
    written = BRACKETS.sub(_dollars, statement)
    return Markup(_markdown.render(written, tags))  # noqa: S704  all of it is escaped or made here


@lru_cache(maxsize=8192)
def line(statement: str | None) -> Markup:
    """A statement as one line that may stand inside a link, cut where it is long."""
    words = " ".join((statement or "").split())
    if len(words) > LINE:
        words = f"{words[:LINE].rsplit(' ', 1)[0]}…"
    if not _is_balanced(words):
        words = plain(words)
    return Markup(_liner.renderInline(BRACKETS.sub(_dollars, words), {"tags": True}))  # noqa: S704  as above


def _dollars(found: re.Match[str]) -> str:
    mark = "$" if found[1] else "$$"
    return f"{mark}{(found[1] or found[2]).strip()}{mark}"


def _is_balanced(statement: str) -> bool:
    """Whether marks on words end where they began, so that none reaches beyond the statement."""
    opened: list[str] = []
    for closing, name in TAG.findall(statement):
        if closing and (not opened or opened.pop() != name):
            return False
        if name and not closing:
            opened.append(name)
    return not opened


def _tag(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  the signature of a rule
    """A mark on words, let through as it is written."""
    found = TAG.match(state.src, state.pos)
    if not found or not state.env.get("tags"):
        return False
    if not silent:
        state.push("html_inline", "", 0).content = found[0]
    state.pos = found.end()
    return True


def mathml(latex: str, *, block: bool = False) -> str:
    """A formula as MathML; as text when it cannot be read."""
    source = latex.strip()
    if len(source) <= LONGEST_FORMULA:
        try:
            formula = convert_to_element(source, display="block" if block else "inline")
            _harmless(formula)
            return tostring(formula, encoding="unicode", short_empty_elements=False)
        except Exception:  # noqa: BLE001, S110  its errors have no common class, and text remains
            pass
    return f'<code class="latex">{escape(source)}</code>'


def _harmless(node: Element) -> None:
    """Refuse what is not known to draw, or is broken; drop attributes that do not draw."""
    for part in node.iter():
        part.text = unescape(part.text) if part.text else None
        unknown = part.tag not in ELEMENTS or (part.text or "").startswith("\\")
        if unknown or len(part) != PARTS.get(part.tag, len(part)):
            raise ValueError(part.tag)
        for name in [name for name in part.attrib if name not in ATTRIBUTES]:
            del part.attrib[name]


def _math_rule(block: bool) -> Any:  # noqa: FBT001  two of them are made
    def render(
        _: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: Any
    ) -> str:
        return mathml(tokens[index].content, block=block)

    return render


def _reader(*rules: str, blocks: bool) -> MarkdownIt:
    reader = MarkdownIt("zero", {"breaks": True, "html": False}).enable(rules)
    reader.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True)
    for name, block in (("math_inline", False), ("math_inline_double", True), ("math_block", True)):
        reader.add_render_rule(name, _math_rule(block and blocks))
    reader.add_render_rule("link_open", _link)
    reader.inline.ruler.push("tag", _tag)
    return reader


def _link(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    """A link that tells where it leads nothing of where it came from."""
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return renderer.renderToken(tokens, index, options, env)


_markdown = _reader(*LINE_RULES, "newline", "link", "list", blocks=True)
_liner = _reader(*LINE_RULES, blocks=False)
