"""A portal that a real browser can look at."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.portal.methods import furnish
from tests.portal.site import Site, open_site
from tests.support.chromium import Served, listening


@contextmanager
def served(tmp_path: Path) -> Iterator[tuple[Site, Served]]:
    """At http://login.localhost:PORT, which browsers treat as they treat https."""
    sock = listening()
    opened = open_site(tmp_path, url=f"http://login.localhost:{sock.getsockname()[1]}")
    with ThreadPoolExecutor(1) as elsewhere:  # it runs loops; the one of this thread is Playwright's
        site = elsewhere.submit(opened.__enter__).result()
        furnish(site)
        server = Served(site.pages, sock)
        yield site, server
        server.close()
        elsewhere.submit(opened.__exit__, None, None, None).result()
