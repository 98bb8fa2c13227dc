"""Public faces of the package: what each exports, where it is written, and what its docstring says.

Read from the source by `ast`, so that names that load only when they are asked for are found too.
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["class", "exception", "function", "data"]

PACKAGE = "saxs_bluesky"
# Commands have pages of their own; start-up files are no library; `support` serves the package itself.
NO_FACES = {"cli", "profile_collection", "support"}
# They stand at the top of the repository: an editable install does not list them as parts of the package.
MAPPED = ("callbacks", "devices", "schemas")
# Names of arrays in the signatures of the reduction.
ARRAYS = f"{PACKAGE}.reduction.arrays"


@dataclass(frozen=True)
class PublicName:
    """One name of a face.

    Parameters
    ----------
    face
        Module that exports it.
    name
        Name in that module.
    home
        Module that defines it.
    kind
        What it is.
    docstring
        As written; empty where there is none.
    value
        Of a constant, as written.
    """

    face: str
    name: str
    home: str
    kind: Kind
    docstring: str
    value: str = ""

    @property
    def owner(self) -> str:
        """The face that documents it: where several export it, the outermost above the definition."""
        return _owners().get((self.home, self.name), self.face)

    @property
    def summary(self) -> str:
        """First paragraph of the docstring, on one line."""
        return " ".join(self.docstring.split("\n\n")[0].split())


@cache
def _owners() -> dict[tuple[str, str], str]:
    owners: dict[tuple[str, str], str] = {}
    for face in sorted(faces(), key=len):
        for name in public_names(face):
            if f"{name.home}.".startswith(f"{face}."):
                owners.setdefault((name.home, name.name), face)
    return owners


@cache
def faces() -> list[str]:
    """Names of the modules and packages with public names, in alphabetical order."""
    mapped = [f"{PACKAGE}.{name}" for name in MAPPED]
    return sorted({*_faces(PACKAGE), *mapped, ARRAYS})


def documented_faces() -> list[str]:
    """Names of the faces that have a page: those that own a name."""
    return [face for face in faces() if any(name.owner == face for name in public_names(face))]


def _faces(package: str) -> Iterator[str]:
    for found in pkgutil.iter_modules(_search_path(package)):
        name = f"{package}.{found.name}"
        if found.name.startswith("_") or found.name in NO_FACES or not _is_face(name):
            continue
        yield name
        if found.ispkg:
            yield from _faces(name)


def _is_face(module: str) -> bool:
    """Whether the module stands for itself: a package with exports, or a module that is part of no package's face."""
    if _exports(_tree(module)) is not None:
        return True
    # Modules of former names only redirect, with a warning.
    defined = [node for node in _tree(module).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return module.count(".") == 1 and any(not node.name.startswith("_") for node in defined)


def _search_path(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    return list(spec.submodule_search_locations or ())


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module))


@cache
def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def module_docstring(module: str) -> str:
    """What a face says of itself."""
    return ast.get_docstring(_tree(module)) or ""


@cache
def public_names(face: str) -> tuple[PublicName, ...]:
    """What a face exports: classes, functions, then constants, each in alphabetical order."""
    names = _exports(_tree(face))
    if names is None:
        names = [name for name in _definitions(face) if not name.startswith("_")]
    order = ("class", "exception", "function", "data")
    found = [_public_name(face, name) for name in names]
    return tuple(sorted(found, key=lambda each: (order.index(each.kind), each.name.lower())))


def _exports(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def _public_name(face: str, name: str) -> PublicName:
    module, original = face, name
    while original not in _definitions(module):
        module, original = _imports(module)[original]
    node = _definitions(module)[original]
    if isinstance(node, ast.ClassDef):
        kind: Kind = "exception" if original.endswith("Error") else "class"
        return PublicName(face, name, module, kind, ast.get_docstring(node) or "")
    if isinstance(node, ast.FunctionDef):
        return PublicName(face, name, module, "function", ast.get_docstring(node) or "")
    value = ast.unparse(node.value) if node.value is not None else ""
    return PublicName(face, name, module, "data", _text_of_constant(module, _tree(module).body, node), value)


Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@cache
def _definitions(module: str) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


@cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """Module and name that a name was imported from."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def member_docstrings(name: PublicName) -> dict[str, str]:
    """What stands behind each assignment in the body of a class, such as the members of an enumeration."""
    node = _definitions(name.home)[name.name]
    assert isinstance(node, ast.ClassDef)
    return {
        target.id: _text_of_constant(name.home, node.body, statement)
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def _text_of_constant(module: str, body: Sequence[ast.stmt], node: ast.Assign | ast.AnnAssign) -> str:
    """The text behind an assignment, or the comments that begin with ``#:`` before it or at its end."""
    behind = body[body.index(node) + 1 : body.index(node) + 2]
    if behind and isinstance(behind[0], ast.Expr) and isinstance(behind[0].value, ast.Constant):
        return str(behind[0].value.value).strip()
    lines = _source(module).splitlines()
    _, mark, comment = lines[node.lineno - 1].partition("#: ")
    if mark:
        return comment.strip()
    comments: list[str] = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.startswith("#:"):
            break
        comments.insert(0, line.removeprefix("#:").strip())
    return " ".join(comments)
