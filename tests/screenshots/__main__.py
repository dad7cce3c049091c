"""python -m tests.screenshots FOLDER [all]: pictures of the portal's pages, from a demo of its own.

`all`: whole pages, light and dark, to be looked at; else those that docs/portal
shows. Needs chromium and pngquant from Debian.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.screenshots.camera import DESKTOP, PHONE, Camera
from tests.screenshots.story import tell
from tests.support.chromium import chromium
from tests.support.demo import Demo

DOCS = Path(__file__).parents[2] / "docs" / "portal" / "README.md"


def main(folder: Path, *, every: bool) -> int:
    os.environ["FONTCONFIG_FILE"] = str(Path(__file__).with_name("fonts.conf"))
    folder.mkdir(parents=True, exist_ok=True)
    views = [PHONE, DESKTOP]
    if every:
        whole = [replace(view, tallest=6000, scale=1) for view in views]
        views = [replace(v, name=f"{v.name}-{s}", scheme=s) for v in whole for s in ("light", "dark")]
    shown = set(re.findall(r"screenshots/([\w-]+)-phone", DOCS.read_text()))
    camera = Camera(folder, views, None if every else shown)
    with tempfile.TemporaryDirectory(prefix="sidegate-pictures-") as root:
        demo = Demo(Path(root), "--dir", f"{root}/demo").wait()
        try:
            with chromium() as browser:
                tell(demo, browser, camera)
        finally:
            demo.end()
    for problem in camera.problems:
        print(problem, file=sys.stderr)
    return 1 if camera.problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), every="all" in sys.argv[2:]))
