"""Texts, pictures given back, transformers of pictures: trained, saved, resumed and used by the commands."""

import codecs
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet.cli import main
from xpnet.cli.text import next_token_accuracy
from xpnet.data import Vocabulary
from xpnet.data.vocabulary import windows

pytest.importorskip("safetensors")
pytestmark = [pytest.mark.host, pytest.mark.usefixtures("folder")]

SMALL = ["--depth", "1", "--width", "16", "--context", "16", "--plot", "none", "--lr", "0.02"]


def make_text(path="abc.txt", n=4000, letters="abcdeé"):
    """A text in which each letter is followed by the next one, but for one in ten."""
    rng, text, k = np.random.default_rng(0), [], 0
    for _ in range(n):
        k = rng.integers(len(letters)) if rng.random() < 0.1 else (k + 1) % len(letters)
        text.append(letters[k])
    Path(path).write_text("".join(text), encoding="utf-8")


@pytest.mark.parametrize(("model", "tokens"), [("gpt", "character"), ("lstm", "character"), ("gpt", "byte")])
def test_a_text_is_learned_and_goes_on(model, tokens, capsys):
    make_text()
    words = ["train", "text", "abc.txt", "--model", model, *SMALL, "--tokens", tokens, "--json", "r.json"]
    assert main([*words, "--epochs", "12"]) == 0
    out = capsys.readouterr().out
    assert "xpnet generate abc.safetensors" in out
    report = json.loads(Path("r.json").read_text())
    test = report["test"]
    # one letter in ten is drawn from six: the best prediction is right in 1 - 0.1 * 5 / 6 of all
    assert test["accuracy"] > (0.85 if tokens == "character" else 0.6)
    assert test["bits"] == pytest.approx(test["loss"] / np.log(2))
    assert report["task"] == "text"
    assert (report["data"], report["model"]["classes"]) == ("text", 6 if tokens == "character" else 256)
    generate = ["generate", "abc.safetensors", "--prompt", "cdeéab", "--length", "12"]
    assert main([*generate, "--temperature", "0"]) == 0
    assert capsys.readouterr().out.startswith("cdeéabcdeéabc")
    made = []
    for more in (["--seed", "1"], ["--seed", "1"], ["--seed", "2"], ["--top-k", "1"]):
        assert main([*generate, *more, "--length", "60"]) == 0
        made.append(capsys.readouterr().out)
    assert made[0] == made[1] != made[2]
    assert made[3].startswith("cdeéabcdeéabc")  # the likeliest alone


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_the_only_letter_of_a_text_is_always_right(model):
    Path("a.txt").write_text("a" * 400)
    words = ["train", "text", "a.txt", "--model", model, *SMALL, "--epochs", "1", "--json", "r.json"]
    assert main(words) == 0
    report = json.loads(Path("r.json").read_text())
    assert (report["test"]["accuracy"], report["test"]["perplexity"]) == (1.0, 1.0)
    assert report["history"]["val_accuracy"] == [1.0]
    nan = next_token_accuracy(np.full((1, 2, 1), np.nan, np.float32), np.zeros((1, 2), np.int64))
    assert float(nan) == 0.0  # scores that are no numbers are never right


def test_a_run_of_text_goes_on_with_the_same_bits(capsys):
    make_text()
    words = ["train", "text", "--path", "abc.txt", *SMALL, "--schedule", "constant"]
    assert main([*words, "--epochs", "3", "--run", "whole"]) == 0
    assert main([*words, "--epochs", "2", "--run", "part"]) == 0
    assert main(["train", "--resume", "part", "--epochs", "3"]) == 0
    assert "resumed runs/part" in capsys.readouterr().out
    one, two = (xpnet.load(f"runs/{name}/model.safetensors") for name in ("whole", "part"))
    for name, value in one.model.state_dict().items():
        assert np.array_equal(value, two.model.state_dict()[name])
    assert "context = 16" in Path("runs/whole/config.toml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "text"], "text needs --path FILE"),
        (["train", "text", "abc.txt", "--context", "5000"], "are too few for windows of 5000"),
        (["train", "text", "latin.txt"], "line 1: not a text in UTF-8: it has the byte e9; say what it is"),
        (["train", "text", "latin.txt", "--encoding", "nope"], "no encoding is called 'nope'"),
        (["train", "text", "abc.txt", "--model", "cnn"], "for text it is one of gpt, lstm"),
        (["train", "digits", "--model", "gpt"], "gpt and lstm are for text"),
        (["train", "digits", "--context", "3"], "--context is for --model gpt, lstm; the model is mlp"),
        (["train", "digits", "--model", "vae", "--monitor", "accuracy"], "--monitor accuracy is for classes"),
        (
            ["train", "digits", "--model", "vae", "--augment", "standard"],
            "--augment is for pictures with classes",
        ),
        (["search", "text", "--path", "abc.txt"], "looks for a perceptron's settings"),
        (["doctor", "text", "--path", "abc.txt"], "this one is a gpt"),
        (["generate", "missing.safetensors"], "missing.safetensors"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    make_text(n=2000)
    Path("latin.txt").write_bytes(b"\xe9t\xe9" * 3000)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bytes_are_trained_on_where_they_are_asked_for(capsys):
    Path("latin.txt").write_bytes(b"\xe9t\xe9 \0" * 500)
    assert main(["train", "text", "latin.txt", *SMALL, "--epochs", "1", "--tokens", "byte"]) == 0
    assert main(["generate", "latin.safetensors", "--length", "5"]) == 0
    assert xpnet.load("latin.safetensors").preprocessing.level == "byte"


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ("日本語の文章。\r\n".encode(), []),
        ("Привет, мир — שלום".encode(), []),
        ("été".encode("utf-16"), []),
        ("été".encode("utf-8-sig"), []),
        ("été".encode("latin-1"), ["--encoding", "latin-1"]),
        ("été".encode("cp037"), ["--encoding", "cp037"]),
        (b'\x1b[31mred\x1b[0m\f {"json": <html>}', []),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_texts_of_any_language_and_encoding(content, more, packed):
    text = content.decode(more[1] if more else "utf-16" if content[:1] in b"\xff\xfe" else "utf-8-sig")
    mark = next((m for m in (codecs.BOM_UTF8, codecs.BOM_UTF16) if content.startswith(m)), b"")
    content = mark + content.removeprefix(mark) * 400
    Path("t.txt").write_bytes(gzip.compress(content) if packed else content)
    assert main(["train", "text", "t.txt", *SMALL, "--epochs", "1", *more]) == 0
    assert xpnet.load("t.safetensors").preprocessing.symbols == sorted({*text})


def test_a_model_of_text_is_used_by_generate_only(capsys):
    make_text(n=1500)
    assert main(["train", "text", "abc.txt", *SMALL, "--epochs", "1"]) == 0
    for command in (["predict"], ["serve", "--port", "0"], ["report"]):
        assert main([command[0], "abc.safetensors", *command[1:]]) == 2
        assert "use it with  xpnet generate abc.safetensors" in capsys.readouterr().err
    assert main(["generate", "abc.safetensors", "--prompt", "x"]) == 2
    assert "knows no 'x'" in capsys.readouterr().err
    assert main(["train", "digits", "--epochs", "1", "--plot", "none"]) == 0
    capsys.readouterr()
    assert main(["generate", "digits.safetensors"]) == 2
    assert "is no model of a text" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["vae", "autoencoder"])
def test_digits_are_given_back(model, capsys):
    pytest.importorskip("matplotlib")
    assert main(["train", "digits", "--model", model, "--epochs", "15", "--json", "r.json"]) == 0
    report = json.loads(Path("r.json").read_text())
    assert report["task"] == "reconstruction"
    assert report["test"]["r2"] > 0.5  # 8 principal components: see below
    assert Path("digits-samples.png").stat().st_size > 5000
    out = capsys.readouterr().out
    assert "saved the model in digits.safetensors: use it as xpnet.load('digits.safetensors').model\n" in out
    assert "samples, and what is made of them: digits-samples.png\n" in out
    assert "training data" not in out
    assert main(["predict", "digits.safetensors"]) == 2
    assert "gives samples back" in capsys.readouterr().err
    saved = xpnet.load("digits.safetensors")
    assert saved.model.latent == 8
    assert main(["train", "digits", "--model", model, "--epochs", "1", "--latent", "2", "--layers", "9"]) == 0
    assert f"network {model} 64-9-2-9-64" in capsys.readouterr().out


def test_a_transformer_of_pictures(capsys):
    words = ["--depth", "2", "--heads", "2", "--width", "32", "--epochs", "8"]
    assert main(["train", "digits", "--model", "vit", *words, "--json", "r.json"]) == 0
    report = json.loads(Path("r.json").read_text())
    assert report["model"] == {
        "classes": 10, "channels": 1, "size": 8, "depth": 2, "heads": 2, "width": 32, "dropout": 0.0
    }  # fmt: skip
    assert report["test"]["accuracy"] > 0.4
    assert main(["predict", "digits.safetensors"]) == 0


def test_a_vocabulary_is_its_own_inverse():
    for level, text in (("character", "a\u20ac\n\U0001f600b"), ("byte", "a\u20ac\n\U0001f600b")):
        vocabulary = Vocabulary(level).fit(text)
        numbers = vocabulary.transform(text)
        assert vocabulary.inverse(numbers) == text
        assert 0 <= numbers.min() <= numbers.max() < len(vocabulary)
        assert Vocabulary(**vocabulary.settings).inverse(numbers) == text
    assert Vocabulary("character", ["b", "a"]).transform("ab").tolist() == [1, 0]
    with pytest.raises(ValueError, match="level must be"):
        Vocabulary("word")
    with pytest.raises(RuntimeError, match="no characters yet"):
        Vocabulary().transform("a")
    with pytest.raises(ValueError, match="too short"):
        windows(np.arange(5), 5)
