"""The page of human evaluation: what its server refuses, and a person in a real browser."""

from __future__ import annotations

import dataclasses
import functools
import http.client
import json
import shutil
import socket
import threading

import numpy as np
import pytest

from experiments import recipes
from experiments.commands.judge import command, draw, results, server, store
from experiments.commands.judge.command import JudgeArguments
from experiments.commands.judge.modes import MODES, Session, Shown
from experiments.runner import runs
from genjax_models.data import Dataset
from tests.experiments.commands.test_judge import ONE, TWO, path

__all__ = ["path"]  # a fixture


class Served:
    """A session's page on a free port, in a thread of its own."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.listening = server.listen("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        self.opened = store.opened(self.path)
        self.store = self.opened.__enter__()
        self.server = server.make_server(self.store, "127.0.0.1")
        self.thread = threading.Thread(target=self.server.run, args=([self.listening],))
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.should_exit = True
        self.thread.join(20)
        self.opened.__exit__(*error)

    def request(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host="Host" in headers)
        body = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content

    def post(self, path, body, **headers):
        return self.request("POST", path, body, Origin=f"http://127.0.0.1:{self.port}", **headers)


def test_what_the_server_refuses(path):
    pytest.importorskip("uvicorn")
    answer = {"trial": 0, "choice": 1}
    with Served(path) as served:
        assert served.request("GET", "/")[0] == 200
        for host in ("evil.example", f"evil.example:{served.port}", "", "[", "127.0.0.1.evil.com"):
            assert served.request("GET", "/state", Host=host)[0] in (400, 421), host
        assert served.request("GET", "/state", Host="localhost:9")[0] == 200  # a forwarded port
        assert served.request("POST", "/answers", answer)[0] == 403
        own = f"127.0.0.1:{served.port}"
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://[",
                       f"ftp://{own}", f"//{own}"):  # fmt: skip
            assert served.request("POST", "/answers", answer, Origin=origin)[0] == 403
        for body in (
            b"",
            b"x",
            b"[]",
            b"{}",
            b"3",
            {"trial": 0, "choice": 2},
            {"trial": True},
            {"trial": -1, "choice": 0},
            {"trial": 24, "choice": 0},
            {"trial": 2**70, "choice": 0},
            b'{"trial": 0, "choice": 1}' + b" " * 10_000,
        ):
            assert served.post("/answers", body)[0] == 400, body  # fmt: skip
        assert served.post("/undo", {"trial": 2**70})[0] == 400
        for target in (
            "/examples/24/0",
            "/examples/0/1",
            "/examples/-1/0",
            "/examples/9e9/0",
            "/examples/../../etc/passwd",
            "/examples/%2e%2e%2fpage.html/0",
            "/page.html",
            "//etc/passwd",
            f"/examples/{10**30}/0",
        ):
            assert served.request("GET", target)[0] == 404, target  # fmt: skip
        assert served.store.num_answers() == 0
        assert served.post("/answers", answer)[0] == 200
        status, state = served.post("/answers", answer)
        assert status == 409 and json.loads(state)["trial"] == 1
        (shown,) = MODES[ONE.mode].trial(ONE, 1)
        assert served.request("GET", "/examples/1/0") == (200, b"%d" % shown.number)


def test_a_port_in_use_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is in use: give another --port"):
            server.listen("127.0.0.1", port)
    with pytest.raises(ValueError, match="cannot listen on --host no.such.host.invalid"):
        server.listen("no.such.host.invalid", 0)


@pytest.fixture
def judge(run):
    """The command."""
    return functools.partial(run, "judge")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, digits):
    """Run directories that say what they are of: two of digits, one of mnist, one of points."""
    found = recipes.find("vae")
    folder = tmp_path_factory.mktemp("untrained")
    for name, dataset in (("RUN", "digits"), ("AGAIN", "digits"), ("OTHER", "mnist")):
        spec = dataclasses.replace(digits.spec, name=dataset)
        config = dataclasses.replace(found.config, dataset=dataset)
        runs.create(folder / name, found, config, dataclasses.replace(digits, spec=spec))
    points = Dataset.from_arrays(np.zeros((3, 2)), name="ring")
    runs.create(folder / "POINTS", found, found.config, points)
    return folder


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "needs 1 RUN at least, got 0"),
        (("nowhere",), "nowhere is no run directory: there is no such folder"),
        (("--results",), "judgements.sqlite holds no judgements: there is no such file"),
        (("--mode", "pairs", "RUN"), "--mode pairs needs 2 RUN at least, got 1"),
        (("RUN", "RUN"), "a run is given twice"),
        (("RUN", "OTHER"), "only runs of the same data are judged side by side"),
        (("POINTS",), "only images and texts can be judged"),
        (("RUN", "--out", "."), ". holds no judgements: it is a folder"),
        (("RUN", "--port", "70000"), "--port must be at least 0 and at most 65535"),
        (("RUN", "AGAIN", "--num", "250"), "500 real examples are to be shown"),
    ],
)
def test_refusals(judge, untrained, tmp_path, argv, said):
    pytest.importorskip("uvicorn")
    given = (untrained / word if word.isupper() else word for word in argv)
    answer = judge("--port", "0", *given)
    assert answer.code == 2 and said in answer.line
    assert not any(tmp_path.iterdir())


def test_a_person_in_a_browser(judge, finished, tmp_path, monkeypatch):
    """Keys are pressed in a real browser; the answers are in the file, and then in the results."""
    pytest.importorskip("uvicorn")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    browser_path = next((path for path in found if path), None)
    if browser_path is None:
        pytest.skip("there is no Chromium on the PATH")
    two = tmp_path / "pairs.sqlite"
    shades = list(draw.pictures(np.arange(15).reshape(15, 1, 1, 1), 16))
    kept = [(Shown(1 + i % 3, i // 3), shade) for i, shade in enumerate(shades)]
    store.create(two, TWO, ["/x/a", "/x/b", "/x/c"], kept)
    arguments = JudgeArguments((finished,), num=3, out=tmp_path / "judgements.sqlite")
    command.prepare(arguments)
    command.prepare(arguments)  # goes on with what is there
    session = Session("real_or_generated", 0, 3, (finished.name,), "digits")
    with Served(arguments.out) as served, sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"]
        )
        sync.expect.set_options(timeout=60_000)  # a busy machine takes its time
        page = browser.new_page()
        page.set_default_timeout(60_000)
        troubles = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.goto(f"http://localhost:{served.port}/")
        keys = ["ArrowLeft", "ArrowRight", "1", "2", "Backspace", "g", "R"]
        expected = [[0], [0, 1], [0, 1, 0], [0, 1, 0, 1], [0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 1, 0]]
        for key, choices in zip([None, *keys], [[], *expected], strict=True):
            if key is not None:
                page.keyboard.press(key)
            sync.expect(page.locator("#count")).to_have_text(f"{len(choices) + 1} of 6 · digits")
            assert [answer.choice for answer in served.store.answers()] == choices
            assert page.locator("#shown img").evaluate("e => e.naturalWidth") == 8
        style = "e => getComputedStyle(e).imageRendering"
        assert page.locator("#shown img").evaluate(style) == "pixelated"
        assert page.locator("#shown img").bounding_box()["width"] > 200
        page.get_by_role("button", name="Real").click()  # the last one
        sync.expect(page.get_by_role("heading", name="Results")).to_be_visible()
        hype = results.tables(session, served.store.answers())[0].rows[0]
        sync.expect(page.locator("#tables")).to_contain_text(f"{hype.value:.1f} %")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        downloaded = download.value.path().read_text("utf-8")
        with Served(two) as pairs:
            page.goto(f"http://localhost:{pairs.port}/")
            sync.expect(page.locator("#count")).to_have_text("1 of 15 · digits")
            boxes = [image.bounding_box() for image in page.locator("#shown img").all()]
            assert len(boxes) == 2 and all(box["width"] > 150 for box in boxes)
            assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]
            page.locator("#shown button").nth(1).click()
            sync.expect(page.locator("#count")).to_have_text("2 of 15 · digits")
            page.keyboard.press("l")
            sync.expect(page.locator("#count")).to_have_text("3 of 15 · digits")
            assert [answer.choice for answer in pairs.store.answers()] == [1, 0]
        browser.close()
    assert troubles == []
    answer = judge("--results", "--csv", "all.csv")
    assert answer.code == 0 and f"{hype.value:.1f} %" in answer.out and "6 of 6" in answer.out
    assert (tmp_path / "all.csv").read_text("utf-8") == downloaded
    wrong = judge(finished, "--num", "4", "--port", "0")
    assert wrong.code == 2 and "num 3, and 4 is asked for" in wrong.line
