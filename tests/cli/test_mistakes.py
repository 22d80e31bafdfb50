"""What people mistype, leave out or mix up: one line, exit code 2, and what to do."""

import random
import shlex
import warnings

import numpy as np
import pytest

from xpnet.cli import main

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with tables, pictures, models and files that are none."""
    image = pytest.importorskip("PIL.Image")
    folder, draw = tmp_path_factory.mktemp("mistakes"), random.Random(0)
    rows = [(round(draw.random() * 100, 1), ("Graz", "Wien")[i % 2], draw.random()) for i in range(40)]
    header = "size,city,price\n"
    (folder / "h.csv").write_text(header + "".join(f"{a},{b},{c:.3f}\n" for a, b, c in rows))
    (folder / "goals.csv").write_text("price\n" + "".join(f"{c:.3f}\n" for *_, c in rows))
    (folder / "new.csv").write_text("size,city\n50,Graz\n")
    (folder / "misspelt.csv").write_text("sise,city\n50,Graz\n")
    (folder / "words.csv").write_text("size,city\nfifty,Graz\n")
    (folder / "three.csv").write_text("a,y\n1.5,u\n2.5,v\n3.5,u\n")
    (folder / "years.csv").write_text("2019,2020,2021\n" + "1.5,2.5,0.5\n" * 30)
    (folder / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100)
    (folder / "lines.csv").write_text('{"a": 1, "y": "u"}\n' * 9)
    (folder / "titled.csv").write_text("Sales of 2020\n\n" + header + "1.5,Graz,2.5\n" * 9)
    (folder / "bad.toml").write_text("lr = = 3\n")
    (folder / "odd.toml").write_text("learning_rate = 3\n")
    (folder / "section.toml").write_text('data = "digits"\n[network]\nlayers = [3]\n')
    (folder / "s.svg").write_text("<svg/>")
    (folder / "refuse.toml").write_text('data = "digits"\nmissing = "refuse"\n')
    (folder / "latin.txt").write_text("A line.\nCaf\xe9.\n" * 99, encoding="latin-1")
    np.savez(folder / "pack.npz", np.arange(9))
    (folder / "junk.safetensors").write_bytes(b"junk")
    (folder / "torch.pt").write_bytes(b"PK\x03\x04" + b"\0" * 60)
    (folder / "gaps.csv").write_text("a,y\n" + "1.5,u\n2.5,NA\n" * 20)
    for kind in "ab":
        for part in ("pics", "odd/train", "odd/test"):
            (folder / part / (kind if part != "odd/test" else kind + "s")).mkdir(parents=True)
        for i in range(12):
            pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            image.fromarray(pixels).save(folder / "pics" / kind / f"{i}.png")
        image.fromarray(pixels).save(folder / "odd/train" / kind / "0.png")
        image.fromarray(pixels).save(folder / "odd/test" / f"{kind}s" / "0.png")
    (folder / "torn" / "a").mkdir(parents=True)
    (folder / "torn" / "a" / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XPNET_CACHE", str(folder / "cache"))
        assert main(shlex.split("train table h.csv --target price --epochs 1 --plot none")) == 0
        assert main(shlex.split("train digits --epochs 1 --plot none")) == 0
        assert main(shlex.split("train digits --epochs 1 --plot none --run first")) == 0
    return folder


MISTAKES = {
    "export digits.safetensors h.csv": "h.csv: the name of an ONNX file ends in .onnx",
    "train digts": "did you mean 'digits'?",
    "train digits --epoch 3": "did you mean '--epochs'?",
    "train digits --epochs 0": "expected a whole number of at least 1",
    "train digits --epochs three": "expected a whole number of at least 1",
    "train digits --lr -1": "expected a number above 0",
    "train digits --lr 0.1.2": "expected a number above 0",
    "train digits --optimizer adamm": "did you mean 'adam'?",
    "train digits --layers '64;32'": "expected sizes such as 64,32",
    "train digits --layers ''": "expected sizes such as 64,32",
    "train digits --model transformer": "choose from 'mlp', 'cnn', 'resnet'",
    "train digits --batch-size 1": "at least 2, since batch norm needs two samples",
    "train digits --seed x": "invalid int value: 'x'",
    "train digits --dropout 1": "a probability of at least 0 and below 1",
    "train digits --backend cuda": "did you mean 'cupy'?",
    "train digits --backend gpu": "did you mean 'cupy'?",
    "doctor --epoch 3": "did you mean '--steps'?",
    "search --trials 4": "two whole numbers, of the coarse and of the fine search, such as 60,30, got '4'",
    "train images pics/a/0.png": "pics/a/0.png is one picture: give a folder, or an archive, with a",
    "train images pics/a": "no pictures in class folders; expected such as cat/1.jpg",
    "train table h.csv --target price --delimiter ';'": "',' between its fields: --delimiter ',' parts them",
    "predict h.safetensors new.csv --delimiter tab": "',' between its fields: --delimiter ',' parts them",
    "train digits --save nowhere/m.safetensors": "there is no folder nowhere: make it first",
    "predict digits.safetensors new.csv": "the model takes pictures of 8 by 8 pixels: give it some",
    "train table goals.csv --target price": "no column to learn from: the target is the only one",
    "train digits --device 3": "has one device, 'cpu'",
    "train digits --path .": "takes no path, got '.': leave it out",
    "train digits --target price": "--target is for tables",
    "train digits --missing mean": "--missing is for tables; the data are digits",
    "train digits --text hash": "--text is for tables; the data are digits",
    "train digits --delimiter ';'": "--delimiter is for tables; the data are digits",
    "train digits --decimal ,": "--decimal is for tables; the data are digits",
    "train digits --encoding cp1252": "--encoding is for tables; the data are digits",
    "train digits --header yes": "--header is for tables; the data are digits",
    "train digits --missing refuse": "--missing is for tables; the data are digits",
    "train digits --text ask": "--text is for tables; the data are digits",
    "train images pics --delimiter ,": "--delimiter is for tables; the data are images",
    "train table h.csv --target price --augment none": "--augment is for pictures",
    "train images pics --activation relu": "--activation and --no-batch-norm are for --model mlp, not cnn",
    "train digits --keep 2": "--keep is for --checkpoint FILE",
    "doctor digits --text ask": "--text is for tables; the data are digits",
    "search digits --missing refuse": "--missing is for tables; the data are digits",
    "train --config refuse.toml": "--missing is for tables; the data are digits",
    "train text pics/a/0.png": "0.png: not a text (--tokens byte takes any file)",
    "train text pack.npz": "an Office document or a zip file, not a text: save it as plain text",
    "train text old.xls": "an Office document or a zip file, not a text: save it as plain text",
    "train text latin.txt": "line 2: not a text in UTF-8: it has the byte e9; say what it is written in",
    "train text words.csv --decimal ,": "--decimal is for tables; the data are text",
    "predict digits.safetensors pics/a/0.png --header no": "--header is for tables of text; pics/a/0.png is",
    "predict digits.safetensors --decimal ,": "--decimal is for tables of text; the test set is none",
    "predict h.safetensors new.csv --skip-damaged": "--skip-damaged is for pictures; new.csv is none",
    "predict h.safetensors new.csv --top 2": "--top is for classes; the model predicts a number",
    "predict digits.safetensors --probabilities": "--probabilities is for --output FILE.csv",
    "report digits.safetensors pics --encoding utf-8": "--encoding is for tables of text; pics is none",
    "search digits --header yes": "--header is for tables; the data are digits",
    "doctor digits --missing mean": "--missing is for tables; the data are digits",
    "train digits --width 3": "the model is mlp, whose sizes --layers sets",
    "train table h.csv --target price --skip-damaged": "--skip-damaged is for images",
    "train digits --save nodir/x.safetensors": "cannot write nodir/x.safetensors",
    "train digits --save pics": "it is a folder",
    "train digits --json pics": "it is a folder",
    "train digits --plot x.gif": "ends in .png, .svg, .pdf or .csv",
    "train digits --report x.txt": "ends in .html",
    "train digits --resume nope.ckpt": "nope.ckpt: no such file",
    "train digits --resume digits.safetensors": "not a checkpoint",
    "train digits --run ../x": "expected the name of a folder in runs",
    "train digits --run ''": "expected the name of a folder in runs",
    "train table h.csv --target price --save h.csv": "h.csv is read, and would be overwritten",
    "train table h.csv --target price --plot ./h.csv": "h.csv is read, and would be overwritten",
    "train table --path h.csv --target price --json h.csv": "h.csv is read, and would be overwritten",
    "train table h.csv --target price --checkpoint h.csv": "h.csv is read, and would be overwritten",
    "train images pics --size 3 --plot none --save none": "--model cnn is for pictures of 4 pixels a side",
    "train images pics --size 1 --model vit --plot none --save none": "for pictures of 2 pixels a side",
    "train --config nope.toml": "no such file",
    "train --config bad.toml": "at line 1",
    "train --config odd.toml": "'learning_rate' is no option of xpnet train; did you mean '--lr'?",
    "train --config section.toml": "[network] begins a section, and there are none",
    "train digits --learning-rate 0.1": "did you mean '--lr'?",
    "train digits --l2 0.1": "did you mean '--weight-decay'?",
    "train digits --activation Relu": "did you mean 'relu'?",
    "train digits --optimizer ADAM": "did you mean 'adam'?",
    "train digits --resume zzz": "zzz: no such file, nor such a run; runs are first",
    "train --resume firts": "no such file, nor such a run; did you mean 'first'?",
    "runs firts": "did you mean 'first'?",
    "parity --ranks 0": "'0' is a word too many: --ranks takes no value (see xpnet parity --help)",
    "predict digits.safetensors s.svg": "pictures of that kind are not read: save it as one of .jpg, .jpeg",
    "predict h.safetensors new.csv x.csv": "'x.csv' is a word too many (see xpnet predict --help)",
    "serve digits.safetensors 8000": "'8000' is a word too many (see xpnet serve --help)",
    "train --help trainin": "did you mean 'training'?",
    "train table": "xpnet train table FILE.csv --target COLUMN",
    "train table nope.csv": "no such file",
    "train h.csv": "xpnet train table h.csv",
    "train table h.csv": "give --target, one of size, city, price",
    "train table h.csv --target prise": "is it 'price'?",
    "train table h.csv --target 9": "no column 9: there are 3, from 0",
    "train table h.csv --target price --task classify": "did you mean 'classification'?",
    "train table h.csv --target price --drop citty": "is it 'city'?",
    "train table h.csv --target price --drop size,city": "all are dropped, but for the target",
    "train table h.csv --target price --drop price": "is the target, and dropped",
    "train table h.csv --target price --categories size,nope": "no column 'nope'",
    "train table h.csv --target price --monitor accuracy": "is for classes; the target is a number",
    "train table h.csv --target price --missing fill": "choose from 'refuse', 'mean'",
    "train table h.csv --target price --encoding utf99": "such are utf-8, cp1252",
    "train table h.csv --target price --decimal ';'": "choose from '.', ','",
    "train table h.csv --target price --header maybe": "choose from 'yes', 'no'",
    "train table h.csv --target price --augment standard": "--augment is for pictures",
    "train table h.csv --target price --model cnn": "a table takes mlp",
    "train table h.csv --target city --task regression": "(city): 'Graz' is not a number to predict",
    "train table three.csv": "too few to hold some out for validation and test: give 20 or more",
    "train table years.csv --target 2": "may be a header: say whether it is one (--header yes",
    "train table old.xls": "save it as CSV",
    "train table lines.csv": "save it as CSV",
    "train table titled.csv": "lines above the header have to go",
    "train table pics": "it is a folder, expected a file",
    "train pics": "xpnet train images pics",
    "train images": "a folder or an archive with a folder of pictures for each class",
    "train images nope": "no such file or folder",
    "train images h.csv": "xpnet train table h.csv",
    "train images pics --size 0": "expected a whole number of at least 1",
    "train images odd": "different class folders: 'a' is in train only",
    "train images torn": "--skip-damaged",
    "train mnist": "the folder with MNIST's four idx files",
    "train mnist --path .": "there is no train-images-idx3-ubyte",
    "predict": "are required: FILE",
    "predict nope.safetensors": "no such file",
    "predict junk.safetensors": "not a safetensors file",
    "predict digits.safetensors --output first.onnx": "first.onnx: expected a name that ends in .csv",
    "train digits more": "digits ships with xpnet and takes no path, got 'more': leave it out",
    "help": "did you mean '--help'?",
    "train help": "did you mean '--help'?",
    "train table https://a.b/c.csv": "https://a.b/c.csv: files are read from this machine: download it first",
    "predict torch.pt new.csv": "PyTorch, Keras or another program: there, safetensors.torch.save_file(",
    "predict first": "first: the model of that run is runs/first/model.safetensors",
    "export runs/first x.onnx": "runs/first: the model of that run is runs/first/model.safetensors",
    "train mnist --path h.csv": "h.csv: a file; expected the folder with MNIST's four idx files",
    "train table gaps.csv --target y": "'NA' in the target says that the value is missing: fill it, or drop",
    "predict h.safetensors": "give the samples: xpnet predict h.safetensors FILE",
    "predict h.csv h.safetensors": "the model comes first",
    "predict h.safetensors nope.csv": "no such file",
    "predict h.safetensors misspelt.csv": "misspelt.csv: no column 'size'; is it 'sise'?",
    "predict h.safetensors words.csv": "words.csv, line 2, column 0 (size): 'fifty' is not a number",
    "predict h.safetensors pics": "give it a table",
    "predict h.safetensors new.csv --top 0": "expected a whole number of at least 1",
    "predict h.safetensors new.csv --output new.csv": "name another file to write",
    "predict digits.safetensors h.csv": "'Graz' is not a number",
    "export h.safetensors": "are required: ONNX",
    "export nope.safetensors x.onnx": "no such file",
    "report digits.safetensors nope.csv": "no such file",
    "serve nope.safetensors": "no such file",
    "serve digits.safetensors --port abc": "expected a whole number",
    "search digits --workers 0": "expected a whole number of at least 1",
    "search digits --executor sparc": "expected mpi, dask",
    "doctor nope": "choose from 'digits'",
    "parity --backends numpy": "expected two of numpy",
    "lab nothing": "`xpnet lab` lists them",
    "runs nope": "runs: no run 'nope'; there are first",
    "runs --folder pics": "xpnet train digits --run NAME makes one",
    "fly": "choose from 'train'",
}


def test_a_warning_does_not_stand_above_the_error(place, monkeypatch, capsys, recwarn):
    warnings.simplefilter("always")  # recwarn brings the filters back
    monkeypatch.chdir(place)
    (place / "commas.csv").write_text("a;y\n" + "1,5;2,5\n3,5;4,5\n" * 20)
    options = "--target y --epochs 1 --plot none --save none"
    for wrong in ("--monitor accuracy", "--target z", "--batch-size 90"):
        assert main(shlex.split(f"train table commas.csv {options} {wrong}")) == 2
        assert [str(said.message) for said in recwarn] == []
        assert capsys.readouterr().err.count("\n") == 1
    assert main(shlex.split(f"train table commas.csv {options}")) == 0
    assert [str(said.message) for said in recwarn] == [
        "commas.csv: its commas are taken for decimal marks, as in 1,5"
    ]


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_that_says_the_fix(words, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("XPNET_CACHE", str(place / "cache"))
    before = sorted(path for path in place.rglob("*") if "cache" not in path.parts)
    assert main(shlex.split(words)) == 2
    printed = capsys.readouterr()
    assert MISTAKES[words] in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out.count("\n") < 2
    assert before == sorted(path for path in place.rglob("*") if "cache" not in path.parts)
