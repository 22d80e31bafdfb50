"""The page of `xpnet serve`: one file, no other is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from xpnet.data import Columns
from xpnet.data.dates import EXAMPLES

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } label { display: block; margin: .5rem 0 } input, select, textarea { font: inherit }
label span { display: inline-block; min-width: 9rem }
button { font: inherit; padding: .3rem 1.2rem; margin-top: .6rem } .error { color: #b00020 }
#drop { border: 2px dashed #888; border-radius: 8px; padding: 2rem; text-align: center }
#drop.over { background: #eef } #shown { max-width: 16rem; min-width: 6rem; margin-top: 1rem }
#shown { image-rendering: pixelated }
.bar { background: #4a7ab5; height: 1rem; display: inline-block } td { padding: .1rem .6rem .1rem 0 }
"""

_SCRIPT = """
const out = document.getElementById("answer");
function show(data) {
  out.replaceChildren();
  const head = document.createElement("h2");
  out.append(head);
  if (data.error) { head.className = "error"; head.textContent = data.error; return; }
  head.textContent = typeof data.prediction == "number" ? +data.prediction.toPrecision(6) : data.prediction;
  if (data.interval) {
    const line = document.createElement("p");
    line.textContent = data.interval; out.append(line);
  }
  for (const note of data.notes || []) {
    const line = document.createElement("p");
    line.className = "error"; line.textContent = note; out.append(line);
  }
  const table = document.createElement("table");
  for (const [name, p] of data.probabilities || []) {
    const row = table.insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = (100 * p).toFixed(1) + "%";
    const bar = document.createElement("span");
    bar.className = "bar"; bar.style.width = 12 * p + "rem";
    row.insertCell().append(bar);
  }
  out.append(table);
}
async function ask(body, type) {
  try {
    const reply = await fetch("/predict", {method: "POST", body: body, headers: {"Content-Type": type}});
    show(await reply.json());
  } catch (error) { show({error: "no answer: has xpnet serve ended?"}); }
}
const form = document.querySelector("form");
if (form) form.addEventListener("submit", event => {
  event.preventDefault();
  const values = Object.fromEntries(new FormData(form));
  ask(JSON.stringify(form.dataset.kind === "row" ? {row: values} : values), "application/json");
});
const drop = document.getElementById("drop");
if (drop) {
  const take = file => {
    if (!file) return;
    document.getElementById("shown").src = URL.createObjectURL(file);
    ask(file, file.type.startsWith("image/") ? file.type : "application/octet-stream");
  };
  drop.addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", event => {
    event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files[0]);
  });
  document.getElementById("file").addEventListener("change", event => take(event.target.files[0]));
}
"""


def page_of(
    title: str, columns: Columns | None, picture: Sequence[int] | None, shape: Sequence[int] | None
) -> str:
    """The document.

    Args:
        title: the heading.
        columns: of a model of a table: a field each.
        picture: (C, H, W) of a model of pictures.
        shape: of a sample, if it is neither.
    """
    if columns is not None:
        body = (
            '<form data-kind="row">'
            + "".join(map(_field, columns.columns))
            + "<button>Predict</button></form>"
        )
    elif picture is not None:
        body = '<div id="drop">Drop a picture here, or <input type="file" id="file" accept="image/*"></div>'
        body += '<img id="shown" alt="">'
    else:
        size = " x ".join(map(str, shape or ()))
        body = f'<form><label>{size} values<br><textarea name="values" rows="5" cols="40"></textarea></label>'
        body += "<button>Predict</button></form>"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><h1>{escape(title)}</h1>\n{body}\n'
        f'<div id="answer" aria-live="polite"></div>\n<script>{_SCRIPT}</script>\n</body></html>\n'
    )


def _field(column: dict[str, object]) -> str:
    """A choice among what is known, or a text."""
    name = str(column["name"] or column["index"])
    kind, values = column["kind"], column.get("values")
    if kind in ("onehot", "bool") and isinstance(values, list):
        options = "".join(f'<option value="{escape(v)}">{escape(v or "(missing)")}</option>' for v in values)
        control = f'<select name="{escape(name)}">{options}</select>'
    elif kind == "embed" and isinstance(values, list):
        options = "".join(f'<option value="{escape(v)}">' for v in values if v)
        control = f'<input name="{escape(name)}" list="of {escape(name)}" autocomplete="off">'
        control += f'<datalist id="of {escape(name)}">{options}</datalist>'
    else:
        hints = {
            "number": f"such as {column.get('fill', 0):.4g}",
            "date": EXAMPLES[str(column.get("form", "date"))],
        }
        control = f'<input name="{escape(name)}" placeholder="{hints.get(str(kind), "")}">'
    return f"<label><span>{escape(name)}</span>{control}</label>"
