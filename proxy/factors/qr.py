"""QR codes. The home of segno."""

from __future__ import annotations

import segno


def picture(text: str) -> str:
    """SVG to stand inline, as large as the page has room: dark on light in any theme, as scanners need it. Its colours
    are attributes, which a strict content security policy lets be. UTF-8 always: left to itself, segno takes Latin-1
    for what fits into it."""
    code = segno.make(text, error="m", micro=False, encoding="utf-8")
    return code.svg_inline(omitsize=True, dark="#000", light="#fff", svgclass="qr", lineclass=None)
