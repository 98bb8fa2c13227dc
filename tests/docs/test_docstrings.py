"""Docstrings of what packages offer: complete, as far as numpydoc and the code itself can tell.

A docstring of one sentence may stand alone where a function has one parameter at most, which the sentence names or
means; numpydoc's sections are wanted of all others.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

from saxs_bluesky import errors

# What users call. The faces that rooms of this package have for each other (documents, frame_job, leash) are left out.
FACES = [
    f"saxs_bluesky.{name}"
    for name in (
        *("callbacks", "catalog", "devices", "file_pipeline", "plotting", "reduction", "schemas", "session"),
        *("sources", "workers"),
    )
]
# numpydoc's: sections that are none or in the wrong order, no docstring, no summary, parameters that are missing,
# unknown, in another order or without a description, no Returns, no Yields.
WANTED = {"GL06", "GL07", "GL08", "SS01", "PR01", "PR02", "PR03", "PR07", "RT01", "YD01"}
ARRAYS = ("Array", "Image", "ndarray", "ScatteringAngles")


def offered() -> Iterator[tuple[str, Any]]:
    """Classes and functions of the package that the faces offer, each once."""
    seen = set()
    for face in FACES:
        module = importlib.import_module(face)
        for name in module.__all__:
            found = getattr(module, name)
            if (inspect.isclass(found) or inspect.isfunction(found)) and found not in seen:
                seen.add(found)
                yield f"{face}.{name}", found


def methods(path: str, found: type) -> Iterator[tuple[str, Any]]:
    for name, method in vars(found).items():
        function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
        if inspect.isfunction(function) and not name.startswith("_"):
            yield f"{path}.{name}", function


OFFERED = dict(offered())
FUNCTIONS = {path: found for path, found in OFFERED.items() if inspect.isfunction(found)}
CLASSES = {path: found for path, found in OFFERED.items() if inspect.isclass(found)}
METHODS = {each: method for path, found in CLASSES.items() for each, method in methods(path, found)}


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")]


def is_one_sentence(found: Any) -> bool:
    return "\n\n" not in (found.__doc__ or "").strip()


def is_named(found: type) -> bool:
    """True for classes that nobody calls with arguments of their own: fields and members are told in the text."""
    return (
        dataclasses.is_dataclass(found)
        or issubclass(found, enum.Enum | BaseException)
        or getattr(found, "_is_protocol", False)
        or "__init__" not in vars(found)
    )


def told(function: Any) -> str:
    return inspect.getdoc(function) or ""


@pytest.mark.parametrize("path", OFFERED)
def test_docstring_is_complete(path: str) -> None:
    found = OFFERED[path]
    assert found.__doc__, "no docstring"
    wanted = set(WANTED)
    if inspect.isclass(found):
        if is_named(found):
            wanted -= {"PR01", "PR03"}
    elif is_one_sentence(found):
        wanted -= {"RT01"} if len(parameters(found)) > 1 else {"RT01", "PR01"}
    place = f"{found.__module__}.{found.__qualname__}"
    assert [f"{code} {text}" for code, text in validate(place)["errors"] if code in wanted] == []


@pytest.mark.parametrize("path", [path for path, found in OFFERED.items() if dataclasses.is_dataclass(found)])
def test_fields_of_a_dataclass_are_told(path: str) -> None:
    found = OFFERED[path]
    fields = [field.name for field in dataclasses.fields(found) if not field.name.startswith("_")]
    assert [name for name in fields if name not in found.__doc__] == []


@pytest.mark.parametrize("path", FUNCTIONS)
def test_shapes_of_arrays_are_told(path: str) -> None:
    function = FUNCTIONS[path]
    sections = {
        name: " ".join(one.desc)
        for one in NumpyDocString(told(function))["Parameters"]
        for name in one.name.split(", ")
    }
    arrays = [one.name for one in parameters(function) if str(one.annotation).endswith(ARRAYS)]
    assert [name for name in arrays if "shape" not in sections.get(name, "")] == []
    if str(inspect.signature(function).return_annotation).endswith(ARRAYS):
        assert "shape" in told(function).partition("Returns")[2]


def raised(function: Callable[..., Any]) -> set[type[errors.SaxsError]]:
    """Errors of the package that a function's own body raises."""
    body = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    names = {
        node.exc.func.id
        for node in ast.walk(body)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    return {found for name in names if inspect.isclass(found := getattr(errors, name, None))}


def raising() -> Iterator[tuple[str, Callable[..., Any], str]]:
    for path, function in {**FUNCTIONS, **METHODS}.items():
        yield path, function, told(function)
    for path, found in CLASSES.items():
        if "__init__" in vars(found) and not dataclasses.is_dataclass(found):
            yield path, found.__init__, told(found)


@pytest.mark.parametrize(("path", "function", "text"), [pytest.param(*one, id=one[0]) for one in raising()])
def test_errors_are_told(path: str, function: Callable[..., Any], text: str) -> None:
    names = {one.type for one in NumpyDocString(text)["Raises"]}
    assert [found for found in raised(function) if not names & {base.__name__ for base in found.__mro__}] == []
