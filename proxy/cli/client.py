"""The API over admin.sock. A home of httpx."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import httpx

import proxy
from proxy.cli.base import Failure, TryAgain

Params = Mapping[str, str | None]
Json: TypeAlias = Any
"""Decoded JSON; its shapes are those of proxy/admin/views.py."""

ANSWER_WITHIN = 60.0
"""Seconds; a revoke that has to end a hanging worker takes about two."""
SUDO_HEADER = "sidegate-sudo-uid"


class Client:
    """Calls that return the API's JSON, or end the command with its error in words."""

    def __init__(self, socket: Path, *, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"user-agent": f"sidegate/{proxy.__version__}"}
        if os.getuid() == 0 and os.environ.get("SUDO_UID", "").isdigit():
            headers[SUDO_HEADER] = os.environ["SUDO_UID"]
        self._socket = socket
        self._http = httpx.Client(
            transport=transport or httpx.HTTPTransport(uds=str(socket)),
            base_url="http://sidegate/api/v1/",
            headers=headers,
            timeout=httpx.Timeout(ANSWER_WITHIN, connect=5.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **params: str | None) -> Json:
        return self._call("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, object], *, patient: bool = False) -> Json:
        """`patient` waits as long as it takes: bulk changes."""
        return self._call("POST", path, body=body, patient=patient)

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        return self._call("PATCH", path, body=body)

    def delete(self, path: str) -> Json:
        return self._call("DELETE", path)

    def lines(self, path: str, **params: str | None) -> Iterator[dict[str, Any]]:
        """Objects of a streamed answer as they come."""
        with (
            self._explained(),
            self._http.stream("GET", path, params=_given(params), timeout=httpx.Timeout(None, connect=5.0)) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise _refused(answer)
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Mapping[str, object] | None = None,
        patient: bool = False,
    ) -> Json:
        timeout = httpx.Timeout(None, connect=5.0) if patient else httpx.USE_CLIENT_DEFAULT
        with self._explained():
            answer = self._http.request(method, path, params=_given(params or {}), json=body, timeout=timeout)
        if answer.is_error:
            raise _refused(answer)
        return answer.json()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            if os.path.exists(self._socket) and not os.access(self._socket, os.R_OK | os.W_OK):
                raise Failure(
                    f"you may not open {self._socket}: run this as root or as a member of its group"
                ) from None
            raise TryAgain(
                f"the core is not running: nothing answers at {self._socket}. Start it with `sidegate serve`"
            ) from None
        except httpx.TimeoutException:
            raise TryAgain(
                f"the core did not answer at {self._socket} within {ANSWER_WITHIN:g} s; see its log and try again"
            ) from None
        except (httpx.TransportError, json.JSONDecodeError):
            raise TryAgain(f"the core went away in mid-answer ({self._socket}); see its log and try again") from None


def _given(params: Params) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}


def _refused(answer: httpx.Response) -> Failure:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the core answered {answer.status_code} without a reason; see its log"
    return TryAgain(message) if answer.status_code == 503 else Failure(message)
