"""The real supervisor with stub children and short times: `python -m tests.support.stub_supervisor CONFIG [ROLE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from proxy.supervisor import Role, run
from proxy.supervisor.slot import Pace

STUBS = {role: f"tests.support.stub_{role}" for role in Role}
PACE = Pace(silence=1.5, start=15, last_chance=0.3, backoff=0.1, backoff_max=0.4, settled=60, stop=1.5)

if __name__ == "__main__":
    role = Role(sys.argv[2]) if len(sys.argv) > 2 else None
    sys.exit(run(Path(sys.argv[1]), role, modules=STUBS, pace=PACE))
