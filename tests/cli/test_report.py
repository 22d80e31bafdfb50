"""`xpnet report` and `xpnet serve`: a saved model as a page, and as a page that answers."""

import http.client
import json
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.cli.test_table import houses, write
from xpnet import nn
from xpnet.cli import main
from xpnet.cli.serve import Answers, make_server
from xpnet.data import Standardize, load_digits, split

pytest.importorskip("safetensors")
pytestmark = [pytest.mark.host, pytest.mark.usefixtures("folder")]


def trained(target):
    write("homes.csv", houses(), [{"price": "kind", "kind": "price"}[target]])
    assert main(["train", "table", "homes.csv", "--target", target, "--epochs", "3", "--plot", "none"]) == 0


# ---- report ----


@pytest.mark.parametrize("target", ["price", "kind"])
def test_a_page_about_a_model_of_a_table(target, capsys):
    trained(target)
    assert main(["report", "homes.safetensors", "homes.csv"]) == 0
    page = Path("homes.html").read_text()
    assert "size, city=Graz, city=Linz, city=Wien, garden" in page
    assert ("Predicted against true" in page) == (target == "price")
    assert ("Confusion matrix" in page) == (target == "kind")
    assert "300 samples of homes.csv" in page
    capsys.readouterr()
    saved = xpnet.load("homes.safetensors")
    if target == "kind":
        right = np.mean(np.array(saved.predict_class(houses())) == houses()["kind"])
        assert f"accuracy {right:.2%}" in page


def test_a_page_about_a_file_of_save():
    xpnet.save(nn.Sequential(nn.Linear(3, 2)), "m.safetensors", metadata={"class_names": ["<a>", "b"]})
    assert main(["report", "m.safetensors", "--output", "p.html"]) == 0
    page = Path("p.html").read_text()
    assert "&lt;a&gt;, b" in page
    assert "Linear" in page
    x = np.eye(3, dtype=np.float32)
    np.savez("xy.npz", x=x, y=[0, 1, 1])
    assert main(["report", "m.safetensors", "xy.npz", "--output", "p.html"]) == 0
    right = np.mean(xpnet.load("m.safetensors").predict(x).argmax(axis=1) == [0, 1, 1])
    assert f"accuracy {right:.2%}" in Path("p.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m.safetensors", "x.npy"], "x.npy: no labels to compare with"),
        (["m.safetensors", "xy.npz"], "labels that are none of the model's classes"),
        (["m.safetensors", "--output", "p.txt"], "expected a name that ends in .html"),
        (["none.safetensors"], "none.safetensors: no such file"),
        (["m.safetensors", "--output", "no/p.html"], "cannot write no/p.html"),
    ],
)
def test_report_refuses(words, message, capsys):
    xpnet.save(nn.Sequential(nn.Linear(3, 2)), "m.safetensors")
    np.save("x.npy", np.eye(3, dtype=np.float32))
    np.savez("xy.npz", x=np.eye(3, dtype=np.float32), y=[0, 1, 2])
    assert main(["report", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# ---- other programs' weights ----


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_of_other_programs_load_into_a_model(dtype):
    weight = np.float32([[1, -2, 0.5], [3, 4, -0.25]])  # which bfloat16 holds
    if dtype == "bfloat16":
        torch = pytest.importorskip("torch")
        from safetensors.torch import save_file

        save_file({"0.weight": torch.tensor(weight).bfloat16(), "0.bias": torch.zeros(2)}, "w.safetensors")
    else:
        from safetensors.numpy import save_file

        save_file({"0.weight": weight, "0.bias": np.zeros(2, np.float32)}, "w.safetensors", {"by": "hand"})
    saved = xpnet.load("w.safetensors", nn.Sequential(nn.Linear(3, 2)))
    assert np.array_equal(saved.model[0].weight.numpy(), weight)
    assert saved.metadata == ({"by": "hand"} if dtype == "float32" else {})
    with pytest.raises(ValueError, match=r"not one that xpnet saved; .*xpnet\.load\(path, model\)"):
        xpnet.load("w.safetensors")
    with pytest.raises(ValueError, match=r"0\.weight is \(2, 4\) here, \(2, 3\) in the state"):
        xpnet.load("w.safetensors", nn.Sequential(nn.Linear(4, 2)))
    Path("w.safetensors").write_bytes(Path("w.safetensors").read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"w\.safetensors: not a safetensors file"):
        xpnet.load("w.safetensors", nn.Sequential(nn.Linear(3, 2)))


# ---- serve ----


class Client:
    """A server in a thread, and what a browser asks it."""

    def __init__(self, path):
        self.answers = Answers(xpnet.load(path), path)
        self.server = make_server(self.answers, "127.0.0.1", 0)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ask(self, method, path, content=None, **headers):
        connection = http.client.HTTPConnection(*self.server.server_address, timeout=10)
        connection.request(method, path, content, {k.replace("_", "-"): v for k, v in headers.items()})
        reply = connection.getresponse()
        return reply.status, reply.read()

    def json(self, value, **headers):
        content = json.dumps(value).encode()
        code, reply = self.ask("POST", "/predict", content, Content_Type="application/json", **headers)
        return code, json.loads(reply) if reply.startswith(b"{") else reply

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def serve():
    clients = []

    def start(path):
        clients.append(Client(path))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.mark.parametrize("target", ["price", "kind"])
def test_a_row_is_answered(target, serve):
    trained(target)
    client, saved, table = serve("homes.safetensors"), xpnet.load("homes.safetensors"), houses()
    code, page = client.ask("GET", "/")
    assert code == 200
    for part in (b'name="size"', b'<option value="Wien">', b'<select name="garden">'):
        assert part in page
    assert not re.search(rb"(src|href)=.?https?:", page)
    row = {k: table[k][0] for k in ("size", "city", "garden")}
    code, answer = client.json({"row": row | {"more": "x"}})
    assert code == 200
    one = {k: [v] for k, v in row.items()}
    if target == "price":
        assert answer == {"prediction": pytest.approx(float(saved.predict(one)[0, 0]))}
    else:
        expected = dict(zip(saved.class_names, saved.predict_proba(one)[0], strict=True))
        assert dict(answer["probabilities"]) == pytest.approx(expected)
        assert answer["prediction"] == max(expected, key=expected.get)
    for bad, message in (
        ({"row": row | {"size": "big"}}, "'big' is not a number"),
        ({"row": {"city": "Wien"}}, "no column 'size'"),
        ({"values": "1, 2"}, "expected a row"),
        ([1], "expected an object"),
    ):
        code, answer = client.json(bad)
        assert (code, message in answer["error"]) == (400, True)
    assert client.ask("POST", "/predict", b"{", Content_Type="application/json")[0] == 400
    assert client.json({"row": row})[0] == 200  # it goes on


def test_an_unknown_category_is_said(serve):
    trained("price")
    client, row = serve("homes.safetensors"), {k: v[0] for k, v in houses().items() if k != "price"}
    assert "notes" not in client.json({"row": row})[1]
    code, answer = client.json({"row": row | {"city": "Atlantis"}})
    assert code == 200
    assert "(city) has 1 values that were not in the training set" in answer["notes"][0]
    assert "'Atlantis'" in answer["notes"][0]


def test_a_picture_is_answered(serve):
    image = pytest.importorskip("PIL.Image")
    import io

    assert main(["train", "digits", "--epochs", "2", "--plot", "none"]) == 0
    client = serve("digits.safetensors")
    assert b'id="drop"' in client.ask("GET", "/")[1]
    test = split(load_digits(flatten=False), (0.8, 0.2), seed=0)[1]
    file = io.BytesIO()
    image.fromarray(test.x[0, 0].astype(np.uint8)).save(file, format="PNG")
    code, reply = client.ask("POST", "/predict", file.getvalue(), Content_Type="image/png")
    expected = xpnet.load("digits.safetensors").predict_class(test.x[:1].reshape(1, 64))
    assert (code, json.loads(reply)["prediction"]) == (200, expected[0])
    frames, moving = [image.new("L", (8, 8), value) for value in (9, 200)], io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    code, reply = client.ask("POST", "/predict", moving.getvalue(), Content_Type="image/gif")
    assert (code, ["first picture is taken" in note for note in json.loads(reply)["notes"]]) == (200, [True])
    code, reply = client.ask("POST", "/predict", b"no picture", Content_Type="image/png")
    assert (code, b"not a picture" in reply) == (400, True)


def test_numbers_are_answered(serve):
    x = np.float32([[1, 2, 3], [4, 5, 9]])
    xpnet.save(nn.Sequential(nn.Linear(3, 2)), "m.st", Standardize().fit(x))
    client = serve("m.st")
    expected = xpnet.load("m.st").predict_proba(x[:1])[0]
    assert dict(client.json({"values": "1, 2 3"})[1]["probabilities"]) == pytest.approx(
        dict(zip("01", expected, strict=True))
    )
    assert "2 values a sample, the model takes 3" in client.json({"values": "1 2"})[1]["error"]
    assert client.ask("POST", "/predict", b"x", Content_Type="image/png")[0] == 400


def test_other_sites_are_refused(serve):
    xpnet.save(nn.Sequential(nn.Linear(3, 2)), "m.st")
    client = serve("m.st")
    assert client.ask("GET", "/", Host="evil.example")[0] == 403
    assert client.ask("GET", "/", Host="localhost:80")[0] == 200
    assert client.json({"values": "1 2 3"}, Origin="http://evil.example")[0] == 403
    assert client.ask("GET", "/etc/passwd")[0] == 404
    assert client.ask("POST", "/predict", None, Content_Length="99999999999")[0] == 400


def test_serve_answers_this_machine_alone_unless_asked(monkeypatch, capsys):
    xpnet.save(nn.Linear(3, 2), "m.safetensors")
    asked = []

    def refuse(answers, host, port):
        asked.append(host)
        raise OSError("no place")

    monkeypatch.setattr("xpnet.cli.serve.make_server", refuse)
    assert main(["serve", "m.safetensors"]) == main(["serve", "m.safetensors", "--host", "0.0.0.0"]) == 2
    assert asked == ["127.0.0.1", "0.0.0.0"]
    assert "--port 8000: no place; try --port 0" in capsys.readouterr().err

    def unknown(answers, host, port):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr("xpnet.cli.serve.make_server", unknown)
    assert main(["serve", "m.safetensors", "--host", "a.invalid"]) == 2
    assert "--host a.invalid: no address of this machine" in capsys.readouterr().err


def test_serve_refuses_in_one_line(capsys):
    xpnet.save(nn.Sequential(nn.Conv2d(1, 2, 3)), "m.st")
    for words, message in (
        (["m.st"], "does not say what shape a sample has"),
        (["none"], "none: no such file"),
        (["m.st", "--port", "-1"], "expected a whole number of at least 0"),
    ):
        assert main(["serve", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
