"""Downloading through TFDS, from a web server on this machine."""

import dataclasses
import http.server
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest

from genjax_models import data
from genjax_models.data.builders import originals
from genjax_models.data.builders.originals import ChecksumError, url_infos
from genjax_models.data.prepare import RECIPES


@pytest.fixture
def served(tmp_path: Path):
    """A folder that a web server on this machine serves, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_files_are_downloaded_and_checked(original_files, tmp_path, small, served, monkeypatch):
    folder, address = served
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    published = originals.TINY_SHAKESPEARE[0][0]
    source = dataclasses.replace(published, url=f"{address}/input.txt")
    small("tiny_shakespeare", source)
    builder = RECIPES["tiny_shakespeare"].builder_class()
    monkeypatch.setattr(builder, "url_infos", url_infos(((source,),)))
    shutil.copy(original_files / "tiny_shakespeare" / "input.txt", folder / "input.txt")
    assert len(data.load("tiny_shakespeare", data_dir=tmp_path / "good")) > 1_000_000

    (folder / "input.txt").write_text("something else")
    with pytest.raises(ChecksumError, match="wrong checksum.*86c4e6") as error:
        data.load("tiny_shakespeare", data_dir=tmp_path / "bad")
    assert "\n" not in str(error.value)

    (folder / "input.txt").unlink()
    with pytest.raises(FileNotFoundError, match="127.0.0.1 answers 404"):
        data.load("tiny_shakespeare", data_dir=tmp_path / "none")
