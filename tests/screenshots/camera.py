"""Pictures of a page as it stands, on a phone and on a desktop. It is not loaded again: some are shown once."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

MOST = 120 * 1024
"""Bytes of a picture."""


@dataclass(frozen=True, slots=True)
class View:
    """A screen, in CSS pixels."""

    name: str
    width: int
    height: int
    scale: float
    tallest: int
    """A longer page is cut off there."""
    scheme: str = "light"


PHONE = View("phone", 390, 844, 1.75, 1500)
DESKTOP = View("desktop", 1280, 900, 1.25, 1200)


class Camera:
    """Puts NAME-VIEW.png into a folder."""

    def __init__(self, folder: Path, views: Sequence[View], only: Container[str] | None = None) -> None:
        """`only`: names of the pictures that are wanted; None: all."""
        self._folder = folder
        self._only = only
        self._views = views
        self.problems: list[str] = []

    def take(self, page: Page, name: str) -> None:
        if self._only is not None and name not in self._only:
            return
        page.wait_for_load_state()
        cdp = page.context.new_cdp_session(page)
        # Whoever types leaves a ring around the field; a picture shows the page at rest.
        page.evaluate("document.activeElement && document.activeElement.blur(); scrollTo(0, 0)")
        for view in self._views:
            screen = {"width": view.width, "height": view.height, "deviceScaleFactor": view.scale, "mobile": False}
            cdp.send("Emulation.setDeviceMetricsOverride", screen)
            features = [{"name": "prefers-color-scheme", "value": view.scheme}]
            cdp.send("Emulation.setEmulatedMedia", {"features": features})
            width, height = page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
            )
            if width > view.width:
                self.problems.append(f"{name} is {width} pixels wide on a {view.name}")
            clip = {
                "x": 0,
                "y": 0,
                "width": view.width,
                "height": max(view.height, min(height, view.tallest)),
                "scale": 1,
            }
            shot = cdp.send("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
            self._keep(base64.b64decode(shot["data"]), self._folder / f"{name}-{view.name}.png")
        cdp.detach()

    def _keep(self, png: bytes, path: Path) -> None:
        """With a palette: a quarter of the size, and nobody sees the difference."""
        done = subprocess.run(
            ["pngquant", "--quality", "60-95", "--nofs", "--speed", "4", "--strip", "-"],
            input=png, capture_output=True, check=True,
        )  # fmt: skip
        if len(done.stdout) > MOST:
            self.problems.append(f"{path.name} has {len(done.stdout) // 1024} KB")
        path.write_bytes(done.stdout)
