"""`sidegate serve`, except that it does not outlive the demo and gets the demo's sockets, as from systemd.

python -m proxy.demo.serve CONFIG PARENT FD…
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from proxy.child import die_with_parent
from proxy.supervisor import run
from proxy.supervisor.listeners import Passed, adopt


def main(config: str, parent: str, *descriptors: str) -> int:
    """Serve until SIGTERM, SIGINT, or the end of the process `parent`."""
    die_with_parent()
    if os.getppid() != int(parent):
        return 1
    return run(Path(config), passed=[Passed("", adopt(int(descriptor))) for descriptor in descriptors])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
