"""Safe HTML from the statements of frameworks: Markdown, LaTeX as MathML, the rest escaped."""

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

MAX_MARKDOWN_CHARS = 20_000
"""Maximum length of a statement rendered as Markdown; longer ones are shown as plain text."""

MAX_FORMULA_CHARS = 1_000

MAX_LINE_CHARS = 320
"""Maximum length of a statement in lists and trees; longer ones are truncated."""

INLINE_RULES = ("escape", "backticks", "emphasis", "strikethrough")
"""Markdown rules for all texts. Blocks also have lists and links, but no headings, and no images,
because browsers would request them from other sites."""

TAG = re.compile(r"<(/?)(b|em|i|strong|sub|sup|u)>|<br ?/?>")
"""The only HTML elements that are allowed: inline formatting without attributes."""

MATHML_ELEMENTS = frozenset(  # one name per line would take 60 lines
    """
    math merror mfrac mi mn mo mover mpadded mphantom mroot mrow ms mspace msqrt mstyle msub
    msubsup msup mtable mtd mtext mtr munder munderover mmultiscripts mprescripts none
    """.split()  # noqa: SIM905  see above
)
MATHML_ATTRIBUTES = frozenset(  # one name per line would take 60 lines
    """
    accent columnalign columnlines columnspacing depth display displaystyle fence form height
    linethickness lspace mathvariant maxsize minsize movablelimits notation rowlines
    rowspacing rspace scriptlevel separator stretchy symmetric voffset width
    """.split()  # noqa: SIM905  see above
)
"""Presentation MathML without links, styles and scripts."""

CHILD_COUNTS = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}
"""Numbers of children that elements must have; those of an incomplete formula have fewer."""

BRACKETED_FORMULA = re.compile(r"\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
"""A formula in LaTeX brackets instead of dollar signs."""


def format_date(timestamp: str | None) -> str:
    """Format a stored timestamp as a date, such as ``15 January 2026``."""
    if not timestamp:
        return ""
    day = datetime.fromisoformat(timestamp)
    return f"{day.day} {day:%B %Y}"


def format_timestamp(timestamp: datetime) -> str:
    """Convert a timestamp to UTC and format it: ``15 January 2026, 09:30:00 UTC``."""
    utc = timestamp.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M:%S} UTC"


def to_plain_text(statement: str | None) -> str:
    """Return a statement as one line without HTML tags; the result is not HTML-escaped."""
    words = TAG.sub(lambda tag: "" if tag[2] else " ", statement or "")
    return " ".join(words.split())


@lru_cache(maxsize=2048)
def render_markdown(statement: str | None) -> Markup:
    """Render Markdown with formulas, such as an item's statement, as safe HTML."""
    statement = statement or ""
    if len(statement) > MAX_MARKDOWN_CHARS:
        return Markup("<p>{}</p>").format(statement)
    env = {"tags": _has_balanced_tags(statement)}
    markdown = BRACKETED_FORMULA.sub(_replace_brackets_by_dollars, statement)
    return Markup(_block_renderer.render(markdown, env))  # noqa: S704  the renderer escapes


@lru_cache(maxsize=8192)
def render_markdown_line(statement: str | None) -> Markup:
    """Render the Markdown in a statement as one line of safe HTML, for lists and the tree.

    Links are removed, and the line is truncated to 320 characters.
    """
    line = " ".join((statement or "").split())
    if len(line) > MAX_LINE_CHARS:
        line = f"{line[:MAX_LINE_CHARS].rsplit(' ', 1)[0]}…"
    if not _has_balanced_tags(line):
        line = to_plain_text(line)
    markdown = BRACKETED_FORMULA.sub(_replace_brackets_by_dollars, line)
    return Markup(_line_renderer.renderInline(markdown, {"tags": True}))  # noqa: S704  as above


def _replace_brackets_by_dollars(match: re.Match[str]) -> str:
    delimiter = "$" if match[1] else "$$"
    return f"{delimiter}{(match[1] or match[2]).strip()}{delimiter}"


def _has_balanced_tags(statement: str) -> bool:
    """Return whether every HTML tag in a statement is closed, in the right order.

    A tag that stays open would affect the rest of the page.
    """
    open_tags: list[str] = []
    for closing, name in TAG.findall(statement):
        if closing and (not open_tags or open_tags.pop() != name):
            return False
        if name and not closing:
            open_tags.append(name)
    return not open_tags


def _parse_formatting_tag(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  markdown-it's signature
    """Copy an allowed HTML tag such as ``<b>`` to the output (an inline rule of markdown-it).

    Returns whether there is one at this position; False if ``state.env["tags"]`` is not true. If
    ``silent`` is true, skips the tag without output.
    """
    match = TAG.match(state.src, state.pos)
    if not match or not state.env.get("tags"):
        return False
    if not silent:
        state.push("html_inline", "", 0).content = match[0]
    state.pos = match.end()
    return True


def render_formula(latex: str, *, block: bool = False) -> str:
    """Convert a LaTeX formula to MathML, as display math if ``block`` is true.

    If the conversion fails, returns the LaTeX source in an HTML ``<code>`` element.
    """
    source = latex.strip()
    if len(source) <= MAX_FORMULA_CHARS:
        try:
            formula = convert_to_element(source, display="block" if block else "inline")
            _sanitize_mathml(formula)
            return tostring(formula, encoding="unicode", short_empty_elements=False)
        except Exception:  # noqa: BLE001, S110  latex2mathml's errors have no common class
            pass
    return f'<code class="latex">{escape(source)}</code>'


def _sanitize_mathml(root: Element) -> None:
    """Remove unknown attributes from a MathML formula and unescape its text, in place.

    Raises ``ValueError`` for an unknown element, an unconverted LaTeX command, and an element with
    too few or too many children.
    """
    for element in root.iter():
        element.text = unescape(element.text) if element.text else None
        # Text that starts with a backslash is a LaTeX command that was not converted.
        is_unknown = element.tag not in MATHML_ELEMENTS or (element.text or "").startswith("\\")
        if is_unknown or len(element) != CHILD_COUNTS.get(element.tag, len(element)):
            raise ValueError(element.tag)
        for name in [name for name in element.attrib if name not in MATHML_ATTRIBUTES]:
            del element.attrib[name]


def _create_math_renderer(block: bool) -> Any:  # noqa: FBT001  a private factory
    def render(
        _: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: Any
    ) -> str:
        return render_formula(tokens[index].content, block=block)

    return render


def _create_markdown_renderer(*rules: str, blocks: bool) -> MarkdownIt:
    markdown = MarkdownIt("zero", {"breaks": True, "html": False}).enable(rules)
    markdown.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True)
    for name, block in (("math_inline", False), ("math_inline_double", True), ("math_block", True)):
        markdown.add_render_rule(name, _create_math_renderer(block and blocks))
    markdown.add_render_rule("link_open", _render_link)
    markdown.inline.ruler.push("tag", _parse_formatting_tag)
    return markdown


def _render_link(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return renderer.renderToken(tokens, index, options, env)


_block_renderer = _create_markdown_renderer(*INLINE_RULES, "newline", "link", "list", blocks=True)
_line_renderer = _create_markdown_renderer(*INLINE_RULES, blocks=False)
