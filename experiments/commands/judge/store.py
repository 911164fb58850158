"""One SQLite file with what is shown and every answer, written as soon as it is given."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.commands.judge.modes import Session, Shown
from genjax_models.core.files import replaced

APPLICATION = 0x6A756467
"""Application number in SQLite's header, by which such a file is known."""
SCHEMA = """
CREATE TABLE session (
    mode TEXT NOT NULL, seed INTEGER NOT NULL, num INTEGER NOT NULL, names TEXT NOT NULL,
    dataset TEXT NOT NULL, runs TEXT NOT NULL
);
CREATE TABLE examples (
    source INTEGER NOT NULL, number INTEGER NOT NULL, media_type TEXT NOT NULL,
    content BLOB NOT NULL, PRIMARY KEY (source, number)
);
CREATE TABLE answers (
    trial INTEGER PRIMARY KEY, choice INTEGER NOT NULL CHECK (choice IN (0, 1)),
    time TEXT NOT NULL
);
"""

PICTURE, TEXT = "image/png", "text/plain; charset=utf-8"


class Example(NamedTuple):
    """One example as the page shows it.

    Attributes:
        media_type: `PICTURE` or `TEXT`, and no other: a page, say, would run in the browser.
        content: Its bytes.
    """

    media_type: str
    content: bytes


class Answer(NamedTuple):
    """One judgement.

    Attributes:
        trial: The trial's index.
        choice: 0 or 1, as in `Mode.choices`.
        time: Time of the answer, in UTC.
    """

    trial: int
    choice: int
    time: str


@dataclasses.dataclass(frozen=True)
class Store:
    """The file of one session.

    Attributes:
        connection: To the file.
        session: The session.
        runs: The runs' directories, from the root.
    """

    connection: sqlite3.Connection
    session: Session
    runs: list[str]

    def example(self, shown: Shown) -> Example:
        """Data of one example."""
        found = self.connection.execute(
            "SELECT media_type, content FROM examples WHERE source = ? AND number = ?", shown
        ).fetchone()
        if found is None or found[0] not in (PICTURE, TEXT) or not isinstance(found[1], bytes):
            raise ValueError(f"there is no picture and no text of example {tuple(shown)}")
        return Example(*found)

    def answers(self) -> list[Answer]:
        """All answers in order: of trials 0, 1, 2 and so on."""
        rows = self.connection.execute("SELECT trial, choice, time FROM answers ORDER BY trial")
        return [Answer(*row) for row in rows]

    def num_answers(self) -> int:
        """Number of answers: the index of the next trial."""
        return self.connection.execute("SELECT count(*) FROM answers").fetchone()[0]

    def answer(self, trial: int, choice: int) -> bool:
        """Keeps an answer to the trial that comes next, at once.

        Returns:
            False, and nothing is kept, where another trial comes next: two pages may be open.
        """
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        # One statement, so that no other process comes between looking and writing.
        statement = "INSERT INTO answers SELECT ?, ?, ? WHERE (SELECT count(*) FROM answers) = ?"
        return self.connection.execute(statement, (trial, choice, time, trial)).rowcount == 1

    def undo(self, trial: int) -> bool:
        """Takes the last answer back; False, and none is, where that trial's is not the last."""
        statement = (
            "DELETE FROM answers WHERE trial = ? AND trial = (SELECT max(trial) FROM answers)"
        )
        return self.connection.execute(statement, (trial,)).rowcount == 1


def create(
    path: Path,
    session: Session,
    runs: Sequence[str],
    examples: Iterable[tuple[Shown, Example]],
) -> None:
    """Writes the file of a new session, whole or not at all.

    Args:
        path: The file.
        session: The session.
        runs: The runs' directories, from the root.
        examples: Everything that its trials show.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = json.dumps(session.names)
    row = (session.mode, session.seed, session.num, names, session.dataset, json.dumps(runs))
    with replaced(path) as fresh, _connected(fresh) as connection:
        connection.executescript(f"PRAGMA application_id = {APPLICATION}; {SCHEMA}")
        connection.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.execute("BEGIN")  # one transaction: an example each would wait for the disk
        rows = ((*key, *value) for key, value in examples)
        connection.executemany("INSERT INTO examples VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Store]:
    """The store that lies in a file, closed afterwards.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is another kind of file.
    """
    if not path.is_file():
        problem = "it is a folder" if path.is_dir() else "there is no such file"
        raise FileNotFoundError(f"{path} holds no judgements: {problem}")
    with _connected(path) as connection:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise ValueError(f"{path} is no file of judgements: give another --out")
        row = connection.execute("SELECT mode, seed, num, names, dataset, runs FROM session")
        mode, seed, num, names, dataset, runs = row.fetchone()
        session = Session(mode, seed, num, tuple(json.loads(names)), dataset)
        yield Store(connection, session, json.loads(runs))


def check_same(store: Store, session: Session, runs: Sequence[str], path: Path) -> None:
    """Refuses to go on with another session than is asked for.

    Raises:
        ValueError: In what they differ.
    """
    old = {"runs": " ".join(store.runs), **store.session._asdict()}
    new = {"runs": " ".join(runs), **session._asdict()}
    for name in ("runs", "mode", "num", "seed"):
        if old[name] != new[name]:
            raise ValueError(
                f"{path} holds a session with {name} {old[name]}, and {new[name]} is asked for:"
                " give another --out, or the same settings to go on with it"
            )


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes at once; its errors name the file."""
    try:
        # The server's loop may run in another thread than opened it, but never in two at once.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with contextlib.closing(connection):
            yield connection
    except sqlite3.OperationalError as error:
        raise ValueError(f"{path} cannot be read or written: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is no file of judgements: {error}") from error
