"""`xpnet serve`: a page on this machine to try a saved model; the standard library only."""

from __future__ import annotations

import argparse
import ipaddress
import json
import socket
import warnings
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

import numpy as np

from xpnet import to_numpy
from xpnet.cli.data import choose_backend
from xpnet.cli.errors import OK, BadInputError, bad_input, say_warnings
from xpnet.cli.model import check_kind
from xpnet.cli.options import add_backend, steps
from xpnet.cli.run_folder import read_model
from xpnet.cli.samples import columns_of, fit, shape_of
from xpnet.cli.serve_page import page_of
from xpnet.cli.settings import BackendSettings
from xpnet.core.reading import printable, reading
from xpnet.data.picture import decode_one
from xpnet.io.intervals import calibration, usual_level
from xpnet.io.model import Saved, probabilities_of

_MOST = 32 * 2**20  # bytes of a question


@dataclass(frozen=True, kw_only=True)
class Settings(BackendSettings):
    """The options of `xpnet serve`."""

    model: str
    host: str = "127.0.0.1"
    port: int = 8000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet serve`."""
    parser.description = (
        "Open a page on this machine to try a saved network: drop a picture or type a row, and see the "
        "answer with its probabilities. Ctrl-C ends it."
    )
    parser.add_argument("model", metavar="FILE", help="a model that `xpnet train` or xpnet.save saved")
    parser.add_argument("--host", metavar="ADDRESS", help="who may ask (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=steps, metavar="N", help="0: any free one (default: 8000)")
    add_backend(parser)


def run(settings: Settings) -> int:
    """Answer until Ctrl-C; the exit code."""
    with bad_input():
        choose_backend(settings)
        saved = read_model(settings.model)
        check_kind(saved, settings.model)
        with reading(settings.model, "a model for prediction"):
            answers = Answers(saved, settings.model)
        try:
            server = make_server(answers, settings.host, settings.port)
        except socket.gaierror as error:
            raise BadInputError(f"--host {settings.host}: no address of this machine, as 0.0.0.0") from error
        except (OSError, OverflowError) as error:
            raise BadInputError(
                f"--host {settings.host} --port {settings.port}: {error}; try --port 0"
            ) from error
    say_warnings()
    host, port = server.server_address[:2]
    print(f"{printable(settings.model)} answers on http://{_text(host)}:{port}/ (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("ended")
    finally:
        server.server_close()
    return OK


class Answers:
    """What a model says to a picture, a row of a table, or numbers.

    Args:
        saved: the model.
        title: of the page.

    Raises:
        ValueError: nobody knows what a sample of it is.
    """

    def __init__(self, saved: Saved, title: str) -> None:
        self.saved, self.columns, self.shape = saved, columns_of(saved), shape_of(saved)
        picture = saved.metadata.get("picture", self.shape)
        self.picture = [*picture] if picture is not None and len(picture) == 3 else None
        if self.columns is None and self.shape is None:
            raise ValueError("it does not say what shape a sample has")
        self.names = saved.class_names
        self.level = usual_level(saved.metadata.get("intervals")) if saved.task == "regression" else None
        self.page = page_of(title, self.columns, self.picture, self.shape).encode()
        self._lock = Lock()

    def to(self, content: bytes, kind: str) -> dict[str, Any]:
        """The answer, as JSON can hold it.

        Args:
            content: a picture, or JSON: `{"row": {column: text}}` or `{"values": "1, 2, 3"}`.
            kind: its content type.

        Raises:
            ValueError: saying what is wrong with it.
        """
        with self._lock, warnings.catch_warnings(record=True) as said:  # a model works for one at a time
            warnings.simplefilter("always")
            sample = self._sample(content, kind)
            scores = self.saved.predict(sample)
            ends = None if self.level is None else self.saved.predict_interval(sample, self.level)
        notes = [*dict.fromkeys(printable(warning.message) for warning in said)]
        return {**self._answer(scores, ends), **({"notes": notes} if notes else {})}

    def _answer(self, scores: Any, ends: tuple[Any, Any] | None) -> dict[str, Any]:
        """A number, with its interval, or classes with their probabilities."""
        if self.saved.task == "regression":
            answer: dict[str, Any] = {"prediction": float(to_numpy(scores)[0, 0])}
            if ends is not None and self.level is not None:
                low, high = (float(end[0]) for end in ends)
                sure = calibration(self.saved.metadata["intervals"], self.level)
                answer["interval"] = (
                    f"{low:.6g} to {high:.6g} with a probability of {self.level:.0%} ({sure})"
                )
            return answer
        probabilities = probabilities_of(scores)[0]
        names = self.names or [str(k) for k in range(len(probabilities))]
        order = np.argsort(-probabilities, kind="stable")
        return {
            "prediction": names[order[0]],
            "probabilities": [[names[k], float(probabilities[k])] for k in order],
        }

    def _sample(self, content: bytes, kind: str) -> Any:
        if kind.split(";")[0].strip() != "application/json":
            if self.picture is None:
                raise ValueError("the model takes no pictures")
            side = self.picture[1] if self.picture[1] == self.picture[2] else None
            pixels = decode_one(content, side, "L" if self.picture[0] == 1 else "RGB", "the picture")
            return fit(pixels[None].astype(np.float32), self.shape or self.picture, "the picture")
        asked = json.loads(content)
        if not isinstance(asked, dict):
            raise ValueError("expected an object")
        if self.columns is not None:
            row = asked.get("row")
            if not isinstance(row, dict):
                raise ValueError("expected a row, by the names of the columns")
            names = {column["name"] or str(column["index"]) for column in self.columns.columns}
            cells = {str(name): [str(value)] for name, value in row.items() if name in names}
            return _by_place(cells, self.columns.width) if not self.columns.columns[0]["name"] else cells
        values = [float(part) for part in str(asked.get("values", "")).replace(",", " ").split()]
        if not np.isfinite(values).all():
            raise ValueError("expected finite numbers")
        return fit(np.array([values], dtype=np.float32), self.shape or (), "the sample")


def _by_place(cells: dict[str, list[str]], width: int) -> np.ndarray:
    """A row of a table without names, with nothing where no column is used."""
    row = np.full((1, width), "", dtype=object)
    for place, texts in cells.items():
        row[0, int(place)] = texts[0]
    return row


def make_server(answers: Answers, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the page and its answers; port 0: any free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self._is_welcome():
                return
            if self.path.split("?")[0] != "/":
                self._send(404, b"no such page", "text/plain")
                return
            self._send(200, answers.page, "text/html; charset=utf-8")

        def do_POST(self) -> None:
            if not self._is_welcome():
                return
            size = self.headers.get("Content-Length", "")
            if self.path != "/predict" or not size.isdecimal() or int(size) > _MOST:
                self._send(400, b'{"error": "not a question, or too large a one"}', "application/json")
                return
            content = self.rfile.read(int(size))
            try:
                answer, code = answers.to(content, self.headers.get("Content-Type", "")), 200
            except Exception as error:  # whatever is wrong with a question, the server goes on
                answer, code = {"error": printable(" ".join(str(error).split()))}, 400
            self._send(code, json.dumps(answer).encode(), "application/json")

        def _is_welcome(self) -> bool:
            """A page of another site must not ask here, by whatever name it reaches this machine."""
            name = self.headers.get("Host", "").rsplit(":", 1)[0].strip("[]")
            origin = self.headers.get("Origin")
            known = not _is_loopback(host) or name == "localhost" or _is_loopback(name)
            same = origin is None or origin.split("//", 1)[-1] == self.headers.get("Host")
            if not (known and same):
                self._send(403, b"asked from elsewhere", "text/plain")
            return known and same

        def _send(self, code: int, content: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline' blob: data:")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Not a line for each question."""

    return ThreadingHTTPServer((host, port), Handler)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _text(host: Any) -> str:
    return host.decode() if isinstance(host, bytes) else str(host)
