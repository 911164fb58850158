"""The page, and the few requests that it makes: of this machine, by numbers alone."""

from __future__ import annotations

import errno
import importlib.util
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from experiments.commands.judge.modes import MODES
from experiments.commands.judge.results import tables, to_csv
from experiments.commands.judge.store import Store
from experiments.runner import pages

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from uvicorn import Server

PAGE = Path(__file__).with_name("page.html")
MOST_BYTES = 256
"""Of a request's body."""
LOCAL = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    # The page needs itself and this server alone, and no other page may show it in a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for requests.

    Raises:
        ValueError: The port is in use, or the address is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} is in use: give another --port, or 0") from error
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"cannot listen on --host {host} --port {port}: {reason}") from error


def address(listening: socket.socket, host: str) -> str:
    """Address of the page."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listening.getsockname()[1]}/"


def check_libraries() -> None:
    """Refuses to begin without what serves the page.

    Raises:
        ImportError: It is not installed.
    """
    for name in ("starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"judge needs {name}: pip install 'genjax_models[judge]'")


def make_server(store: Store, host: str) -> Server:
    """A server of the page: `run(sockets=[...])` serves until it is told to stop."""
    import uvicorn

    # Its own set-up of logging would close the handlers that other libraries have.
    quiet: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False}
    return uvicorn.Server(uvicorn.Config(make_app(store, host), lifespan="off", ws="none", **quiet))


def make_app(store: Store, host: str) -> Starlette:
    """The requests that the page makes.

    All that a request can name is the index of a trial and a side of it; none names a file.

    Args:
        store: Store of examples and answers.
        host: The address that is listened on.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    session, mode = store.session, MODES[store.session.mode]
    total, page = mode.total(session), pages.read(PAGE)

    async def show_page(request: Request) -> Response:
        return Response(page, media_type="text/html")

    async def show_state(request: Request) -> Response:
        return JSONResponse(_state(store, total))

    async def show_example(request: Request) -> Response:
        index, side = request.path_params["index"], request.path_params["side"]
        if index >= total or side >= len(trial := mode.trial(session, index)):
            return PlainTextResponse("there is no such example", 404)
        try:
            media_type, content = store.example(trial[side])
        except ValueError as error:
            return PlainTextResponse(str(error), 404)
        return Response(content, media_type=media_type)

    async def answer(request: Request) -> Response:
        given = await _numbers(request, ("trial", "choice"))
        if given is None or given[1] not in (0, 1) or given[0] >= total:
            return PlainTextResponse("an answer is a trial, and a choice of 0 or 1", 400)
        kept = store.answer(*given)
        return JSONResponse(_state(store, total), 200 if kept else 409)

    async def undo(request: Request) -> Response:
        given = await _numbers(request, ("trial",))
        if given is None:
            return PlainTextResponse("what is taken back is a trial", 400)
        kept = store.undo(*given)
        return JSONResponse(_state(store, total), 200 if kept else 409)

    async def show_results(request: Request) -> Response:
        found = tables(session, store.answers())
        rows = [{**t._asdict(), "rows": [row._asdict() for row in t.rows]} for t in found]
        return JSONResponse(rows)

    async def show_csv(request: Request) -> Response:
        name = {"Content-Disposition": "attachment; filename=judgements.csv"}
        return Response(to_csv(session, store.answers()), media_type="text/csv", headers=name)

    routes = [
        Route("/", show_page),
        Route("/state", show_state),
        Route("/examples/{index:int}/{side:int}", show_example),
        Route("/answers", answer, methods=["POST"]),
        Route("/undo", undo, methods=["POST"]),
        Route("/results", show_results),
        Route("/results.csv", show_csv),
    ]
    guard = _guard((*LOCAL, host.lower(), socket.gethostname().lower()))
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)])


def _state(store: Store, total: int) -> dict[str, Any]:
    """All that the page knows: nothing of it tells what the next example is."""
    mode, done = MODES[store.session.mode], store.num_answers()
    shown: list[str] = []
    if done < total:
        trial = mode.trial(store.session, done)
        shown = [store.example(example).media_type.split(";")[0] for example in trial]
    return {
        "dataset": store.session.dataset,
        "question": mode.question,
        "choices": mode.choices,
        "keys": mode.keys,
        "trial": done,
        "total": total,
        "shown": shown,
    }


def _guard(names: tuple[str, ...]) -> Callable[..., Awaitable[Response]]:
    """Lets requests through that are sent to this server by its own name, and by its own page.

    A page of another site whose name was made to mean this machine (DNS rebinding) says that name
    as the host; a page of another site that posts to this one says its own origin.
    """
    from starlette.responses import PlainTextResponse

    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        host, origin = request.headers.get("host", ""), request.headers.get("origin", "")
        reached = (request.scope.get("server") or ("",))[0]  # the address that was connected to
        if _hostname(host) not in (*names, reached):
            return PlainTextResponse("this page has another host", 421)
        if request.method == "POST" and not _is_own(origin, host):
            return PlainTextResponse("answers are taken from this server's own page", 403)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    return guard


def _is_own(origin: str, host: str) -> bool:
    """Returns True if an Origin header names the server that a Host header names."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _hostname(host: str) -> str:
    """A Host header without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _numbers(request: Request, names: tuple[str, ...]) -> list[int] | None:
    """The whole numbers of those names in a small JSON body; None where it is anything else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    try:
        given = json.loads(body)
        values = [given[name] for name in names]
    except (ValueError, TypeError, KeyError):
        return None
    return values if all(type(value) is int and 0 <= value < 2**31 for value in values) else None
