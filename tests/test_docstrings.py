"""Docstrings of public names: every argument, what comes back, what is refused, and an example.

The examples are run as doctests; here only that they, and all that a page needs, are there.
"""

import doctest
import inspect
import re

import pytest

import xpnet
from xpnet import data, ensemble, functional, init, nn, optim, search, train

pytestmark = pytest.mark.host


def is_module_or_error(thing):
    return inspect.ismodule(thing) or (inspect.isclass(thing) and issubclass(thing, Exception))


def is_function_of_several(thing):
    return inspect.isfunction(thing) and len(inspect.signature(thing).parameters) > 1


NAMES = [
    *[(module, name) for module in (functional, nn, optim) for name in module.__all__],
    *[(xpnet, name) for name in xpnet.__all__ if not is_module_or_error(getattr(xpnet, name))],
    *[
        (module, name)
        for module in (data, search, train)
        for name in module.__all__
        if is_function_of_several(getattr(module, name))
    ],
    *[
        (module, name)
        for module in (init, ensemble)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ],
]
HEADING = re.compile(r"^(Args|Returns|Raises|Attributes):$", re.MULTILINE)
ENTRY = re.compile(r"^    \*{0,2}(\w+): \S", re.MULTILINE)


def sections(text):
    """The sections of a docstring in Google's style: heading and indented text."""
    parts = HEADING.split(text)[1:]
    return {
        heading: re.match(r"(\n|    .*\n?)*", body.lstrip("\n"))[0]
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


def arguments(thing):
    """The parameters of a function or of a layer's constructor, if it has its own."""
    if inspect.isclass(thing) and thing.__init__ is object.__init__:
        return []
    parameters = inspect.signature(thing).parameters
    kinds = {p.kind for p in parameters.values()}
    if kinds == {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return []  # takes anything, and ignores it
    return list(parameters)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{m.__name__}.{n}" for m, n in NAMES])
def test_the_docstring_says_it_all(module, name):
    thing = getattr(module, name)
    text = inspect.getdoc(thing)
    found, named = sections(text), arguments(thing)
    assert doctest.DocTestParser().get_examples(text), "no example"
    if "Args" in found or len(named) > 1:
        assert ENTRY.findall(found.get("Args", "")) == named, "Args: other names, or in another order"
    if len(named) > 1:
        assert "Raises" in found
        assert ENTRY.findall(found["Raises"]), "Raises: no exception by its name"
        if not inspect.isclass(thing) and inspect.signature(thing).return_annotation not in (None, "None"):
            assert found.get("Returns", "").strip(), "no Returns"


def test_the_sections_are_read():
    text = "One.\n\nArgs:\n    a: x\n        more: of it.\n    **b: y.\n\nRaises:\n    ValueError: z.\n\nEnd."
    found = sections(text)
    assert ENTRY.findall(found["Args"]) == ["a", "b"]
    assert ENTRY.findall(found["Raises"]) == ["ValueError"]
