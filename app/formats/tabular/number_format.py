"""Number formats of XLSX cells, as far as they show which digits a person typed.

Only formats made of digits and of text before or after them are used (ISO/IEC 29500-1, 18.8.31):
``0.00`` shows 1.1 as 1.10, ``000`` shows 7 as 007. Percentages, fractions and exponents are not.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

LITERAL = r'(?:"[^"]*"|\\.|[-+/():!^&\'~{}<>= ])*'
FORMAT = re.compile(
    rf"(?P<prefix>{LITERAL})(?P<whole>[#?0,]*[#?0])(?:\.(?P<decimals>0+))?(?P<suffix>{LITERAL})"
)
LITERAL_MARKS = re.compile(r'"([^"]*)"|\\(.)')
MAX_SIGNIFICANT_DIGITS = 15
"""Number of significant digits that Excel stores and shows."""


class DigitFormat(NamedTuple):
    """A number format that specifies how many digits a cell shows, such as 0.00."""

    prefix: str
    min_whole_digits: int
    decimals: int
    suffix: str

    def format(self, value: float) -> str | None:
        """Return a number as text in this format, or None if it would drop significant digits."""
        width = self.min_whole_digits + (self.decimals and self.decimals + 1)
        digits = f"{abs(value):0{width}.{self.decimals}f}"
        if float(digits) != float(f"{abs(value):.{MAX_SIGNIFICANT_DIGITS}g}"):
            return None
        return f"{'-' if value < 0 else ''}{self.prefix}{digits}{self.suffix}"


@lru_cache(maxsize=256)
def parse_number_format(code: str) -> DigitFormat | None:
    """Parse the number format code of an XLSX cell, such as ``0.00``, to a ``DigitFormat``.

    Returns None for General and for codes with more than digit placeholders and literal text.
    """
    match = FORMAT.fullmatch(code.split(";", maxsplit=1)[0].strip())
    if match is None:
        return None
    # The comma between thousands is left out, because it is no part of a code and separates lists.
    return DigitFormat(
        _unquote(match["prefix"]),
        max(1, match["whole"].count("0")),
        len(match["decimals"] or ""),
        _unquote(match["suffix"]),
    )


def _unquote(literal: str) -> str:
    return LITERAL_MARKS.sub(lambda mark: mark[1] if mark[1] is not None else mark[2], literal)
