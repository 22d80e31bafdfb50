"""The docstrings of the namespace: arguments, result, refusals, derivative, and an example that runs."""

import doctest
import inspect

import pytest

import xpnet
from tests.test_docstrings import ENTRY, sections

pytestmark = pytest.mark.host

xp = xpnet.array_api
EVERY = {
    **xp.FUNCTIONS,
    **{f"linalg.{name}": f for name, f in vars(xp.linalg).items()},
    **{f"fft.{name}": f for name, f in vars(xp.fft).items()},
}


@pytest.mark.parametrize("name", list(EVERY))
def test_the_docstring_says_it_all(name):
    function = EVERY[name]
    text = inspect.getdoc(function)
    found = sections(text)
    assert ENTRY.findall(found.get("Args", "")) == list(inspect.signature(function).parameters)
    assert found["Returns"].strip()
    assert ENTRY.findall(found["Raises"])
    assert "\nDerivative: " in text
    assert text.split("\nDerivative: ")[1].strip()


@pytest.mark.parametrize("name", list(EVERY))
def test_the_example_runs(name):
    examples = doctest.DocTestParser().get_doctest(EVERY[name].__doc__, {}, name, None, None)
    assert len(examples.examples) >= 2
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(examples)
    assert not runner.failures


@pytest.mark.parametrize(
    ("call", "message"),
    {
        "sin": (lambda x: xp.sin(3.0), r"sin: expected an array or a Tensor, got float"),
        "sum": (lambda x: xp.sum([1, 2]), r"sum: expected an array or a Tensor, got list"),
        "axis": (lambda x: xp.argmax(x, axis=4), r"argmax: axis 4 .*\(x: \(2,\) float32, axis: 4\)"),
        "shapes": (lambda x: xp.add(x, xpnet.tensor([1.0, 2.0, 3.0])), r"add: .*\(x1: \(2,\) float32"),
        "concat": (lambda x: xp.concat([x, x[None]]), r"concat: .*: \[\(2,\) float32, \(1, 2\) float32\]\)"),
        "take": (lambda x: xp.take(x, xpnet.asarray([5])), r"take: index 5 .*, indices: \(1,\) int64"),
        "inv": (lambda x: xp.linalg.inv(xp.zeros((2, 2))), r"inv: Singular matrix \(x: \(2, 2\) float32\)"),
        "an integer result": (
            lambda x: xpnet.grad(lambda z: xp.astype(z * 2, "int64").sum())(x),
            r"int64, which has no gradient: astype of",
        ),
        "argmax": (lambda x: xpnet.grad(lambda z: xp.argmax(z))(x), r"argmax of a tensor that requires one"),
        "no function": (lambda x: xpnet.jvp(3, (x,), (x,)), r"jvp: expected a function, got int"),
        "no argument": (lambda x: xpnet.jacobian(lambda z: z, argnums=3)(x), r"argnums=3 of a call with 1 "),
        "no model": (lambda x: xpnet.functional_call(3, {}, x), r"call: expected a Module, got int"),
        "no number": (
            lambda x: xpnet.per_sample_grad(xpnet.nn.Linear(2, 2), lambda z, y: z)(x[None], x[None]),
            r"per_sample_grad: the loss gives one number for a sample, got \(1, 2\)",
        ),
    }.values(),
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_errors_name_the_function_and_its_arguments(call, message, requires_grad):
    with pytest.raises((ValueError, TypeError, IndexError), match=message):
        call(xpnet.tensor([1.0, 2.0], requires_grad=requires_grad))


def test_two_backends_are_refused_with_and_without_a_gradient():
    strict = pytest.importorskip("array_api_strict")
    other = xpnet.Tensor(strict.asarray([1.0, 2.0], dtype=strict.float32))
    for requires_grad in (False, True):
        x = xpnet.tensor([1.0, 2.0], requires_grad=requires_grad)
        for name in ("add", "maximum", "equal", "logaddexp", "matmul"):
            with pytest.raises(xpnet.DeviceError, match=name):
                getattr(xp, name)(x, other)
