"""Validation with errors that name the place, what was wanted, and what was found."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from saxs_bluesky.errors import SchemaError

type_words = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "number": "a finite number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}

_LIMITS = {
    "minimum": "a number not below {}",
    "maximum": "a number not above {}",
    "exclusiveMinimum": "a number above {}",
    "exclusiveMaximum": "a number below {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
}


def _is_finite_number(_: Any, instance: Any) -> bool:
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return False
    try:
        return math.isfinite(instance)
    except OverflowError:  # an integer beyond what a float can hold
        return False


def _is_whole_number(checker: Any, instance: Any) -> bool:
    return _is_finite_number(checker, instance) and float(instance).is_integer()


# Python's JSON reads NaN and Infinity, and JSON Schema's own "number" lets them through.
_Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": _is_finite_number, "integer": _is_whole_number}
    ),
)


def validate(document: Any, schema: dict[str, Any], where: str) -> None:
    """Check a document against a schema.

    Parameters
    ----------
    document
        As the JSON parser returns it.
    schema
        A schema in draft 2020-12.
    where
        What errors call the document: its path or another name.

    Raises
    ------
    SchemaError
        It does not fit. The message lists every problem: its place in the document, what was
        wanted and what was found; for an unknown key, the known key that is nearest.
    """
    errors = sorted(_Validator(schema).iter_errors(document), key=lambda error: list(map(str, error.path)))
    # One missing key is one error, and each of them yields all the missing keys of its object.
    problems = dict.fromkeys(problem for error in errors for problem in _problems(error))
    if problems:
        raise SchemaError(f"{where}: " + "; ".join(problems))


def _problems(error: ValidationError) -> Iterator[str]:
    place = _place(error)
    instance: Any = error.instance
    value: Any = error.validator_value
    schema: Any = error.schema
    if error.validator == "additionalProperties":
        known = schema["properties"]
        for name in instance:
            if name not in known:
                yield f"{place}unknown key {_shown(name)}{_suggestion(name, known)}"
    elif error.validator == "required":
        for name in value:
            if name not in instance:
                yield f"{place}key {_shown(name)} is missing"
    else:
        yield f"{place}wanted {_wanted(error)}, found {_found(error)}"


def _place(error: ValidationError) -> str:
    place = ""
    for part in error.absolute_path:
        if isinstance(part, int):
            place += f"[{part}]"
        else:
            place += f".{part}" if place else str(part)
    return f"{place}: " if place else ""


def _suggestion(name: str, known: dict[str, Any]) -> str:
    by_lower_case = {key.lower(): key for key in known}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    if near:
        return f', did you mean "{by_lower_case[near[0]]}"?'
    return " (known: " + ", ".join(known) + ")"


def _wanted(error: ValidationError) -> str:
    value: Any = error.validator_value
    match error.validator:
        case "type":
            return " or ".join(type_words[kind] for kind in ([value] if isinstance(value, str) else value))
        case "enum":
            return "one of " + ", ".join(map(_shown, value))
        case str(limit) if limit in _LIMITS:
            return _LIMITS[limit].format(value)
        case _:
            return f"what {error.validator} {_shown(value)} says"


def _found(error: ValidationError) -> str:
    instance: Any = error.instance
    if error.validator in ("minItems", "maxItems"):
        return f"{len(instance)}: {_shown(instance)}"
    return _shown(instance)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
