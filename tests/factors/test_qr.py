from __future__ import annotations

import re
from xml.etree import ElementTree

import segno

from proxy.factors.qr import picture

SVG = picture("otpauth://totp/Example:alice%40example.org?secret=AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT&issuer=Example")


def test_a_strict_content_security_policy_shows_it() -> None:
    assert ElementTree.fromstring(SVG).tag == "svg"
    assert not re.search(r"style|script|href", SVG)


def test_it_is_dark_on_light_in_every_theme_with_a_margin() -> None:
    """Scanners need the contrast, and four modules of quiet zone (ISO/IEC 18004)."""
    light, dark = (path.attrib for path in ElementTree.fromstring(SVG).iter("path"))
    assert light["fill"] == "#fff"
    assert dark["stroke"] == "#000"
    assert re.match(r"M4 4\.5", dark["d"])


def test_it_can_be_as_large_as_the_page_has_room() -> None:
    svg = ElementTree.fromstring(SVG)
    assert svg.attrib["viewBox"] == "0 0 49 49"
    assert "width" not in svg.attrib


def test_what_would_fit_into_latin_1_is_utf_8_as_well() -> None:
    """Thunderbird for Android, and everything that reads JSON, takes nothing else."""
    as_bytes = segno.make("Álvarez".encode(), error="m", micro=False, mode="byte")
    assert picture("Álvarez") == as_bytes.svg_inline(
        omitsize=True, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
