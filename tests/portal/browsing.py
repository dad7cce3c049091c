"""A portal that a real browser can look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from starlette.types import ASGIApp

from tests.portal.methods import furnish
from tests.portal.site import Site, open_site
from tests.support.chromium import Served, listening


@contextmanager
def served(tmp_path: Path, wrap: Callable[[ASGIApp], ASGIApp] | None = None) -> Iterator[tuple[Site, Served]]:
    """At http://login.localhost:PORT, as safe to a browser as https. `wrap`: what is put before the pages."""
    sock = listening()
    opened = open_site(tmp_path, url=f"http://login.localhost:{sock.getsockname()[1]}")
    with ThreadPoolExecutor(1) as elsewhere:  # it runs loops; the one of this thread is Playwright's
        site = elsewhere.submit(opened.__enter__).result()
        furnish(site)
        server = Served(site.pages if wrap is None else wrap(site.pages), sock)
        try:
            yield site, server
        finally:
            server.close()
            elsewhere.submit(opened.__exit__, None, None, None).result()
