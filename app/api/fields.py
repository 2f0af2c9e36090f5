"""Request fields with the reference's lax coercion, each refusing with the reference's error types.

`"1.5"` is a number, `"true"` a boolean and `1.0` an integer; `1.5` is no integer and a number is no text. What
could never be stored (NUL, lone surrogates, integers beyond 64 bits) is refused here, so no store sees it.
"""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from marshmallow import ValidationError, fields

# Longer than any name anybody uses, and short enough for an index entry in UTF-8.
NAME_LENGTH = 512
MAXIMUM_INT32 = 2**31 - 1
MAXIMUM_INT64 = 2**63 - 1
_DEEPEST = 32
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")

_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
_FALSE = frozenset({"false", "0", "no", "off", "f", "n"})


class Fault(str):
    """An error text that carries its type."""

    __slots__ = ("type",)

    type: str

    def __new__(cls, kind: str, text: str) -> Self:
        fault = super().__new__(cls, text)
        fault.type = kind
        return fault


def refuse(kind: str, text: str) -> ValidationError:
    return ValidationError([Fault(kind, text)])


class Text(fields.String):
    """A text and nothing else."""

    def __init__(self, *, max_length: int | None = None, nullable: bool = True, **kwargs: Any) -> None:
        if max_length is not None:
            kwargs["metadata"] = {**kwargs.get("metadata", {}), "maxLength": max_length}
        super().__init__(allow_none=nullable, **kwargs)
        self.max_length = max_length

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str):
            raise refuse("string_type", "Input should be a valid string")
        check_text(value)
        if self.max_length is not None and len(value) > self.max_length:
            raise refuse("string_too_long", f"String should have at most {self.max_length} characters")
        return value


class Name(Text):
    """A text that identifies something."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=NAME_LENGTH, **kwargs)


class Line(Name):
    """A name that may be written into the header of a mail."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if not text.isprintable():
            raise refuse("string_unprintable", "String should hold printable characters only")
        return text


class Choice(Text):
    """One of a few texts."""

    def __init__(self, *choices: str, nullable: bool = True, **kwargs: Any) -> None:
        enum = [*choices, None] if nullable else list(choices)
        super().__init__(metadata={"enum": enum}, nullable=nullable, **kwargs)
        self.choices = choices

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        if value not in self.choices:
            raise refuse("enum", f"Input should be {', '.join(map(repr, self.choices))}")
        return super()._deserialize(value, *args, **kwargs)


class Whole(fields.Integer):
    """A whole number within bounds."""

    def __init__(self, *, low: int = 0, high: int = MAXIMUM_INT64, nullable: bool = True, **kwargs: Any) -> None:
        super().__init__(allow_none=nullable, metadata={"minimum": low, "maximum": high}, **kwargs)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        number = _whole(value)
        if number < self.low:
            raise refuse("greater_than_equal", f"Input should be greater than or equal to {self.low}")
        if number > self.high:
            raise refuse("less_than_equal", f"Input should be less than or equal to {self.high}")
        return number


def _whole(value: Any) -> int:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise refuse("int_from_float", "Input should be a valid integer, got a number with a fractional part")
        return int(value)
    if isinstance(value, str):
        # Bounded digits: an unbounded int() is quadratic.
        if _INTEGER.fullmatch(value.strip()):
            return int(value)
        raise refuse("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
    raise refuse("int_type", "Input should be a valid integer")


class Number(fields.Decimal):
    """A number exactly as it was written; NaN and the infinities pass, for the rules to refuse by name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Decimal | None:
        if isinstance(value, bool | int):
            return Decimal(int(value))
        if isinstance(value, float):
            return Decimal(str(value))
        if isinstance(value, str):
            return self._from_text(value)
        raise refuse("float_type", "Input should be a valid number")

    def _from_text(self, value: str) -> Decimal | None:
        try:
            return Decimal(value.strip())
        except InvalidOperation as error:
            raise refuse(
                "float_parsing", "Input should be a valid number, unable to parse string as a number"
            ) from error


class Money(Number):
    """An amount in dollars; an empty text is no amount."""

    def _from_text(self, value: str) -> Decimal | None:
        return None if value == "" else super()._from_text(value)


class Amount(Number):
    """An amount that must be said: neither null nor a boolean will do."""

    default_error_messages = {"null": Fault("float_type", "Input should be a valid number")}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_none = False

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Decimal | None:
        if isinstance(value, bool):
            raise refuse("float_type", "Input should be a valid number")
        return super()._deserialize(value, *args, **kwargs)


class Flag(fields.Boolean):
    """A boolean in any of its usual spellings."""

    def __init__(self, *, nullable: bool = True, **kwargs: Any) -> None:
        super().__init__(allow_none=nullable, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float) and value in {0, 1}:
            return bool(value)
        if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
        raise refuse("bool_parsing", "Input should be a valid boolean, unable to interpret input")


class Names(Text):
    """Names separated by commas, at most `most` of them, as a tuple."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        super().__init__(max_length=most * NAME_LENGTH, **kwargs)
        self.most = most

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        names = tuple(
            name for part in super()._deserialize(value, *args, **kwargs).split(",") if (name := part.strip())
        )
        if len(names) > self.most:
            raise refuse("too_long", f"Input should name at most {self.most}")
        return names


class TextList(fields.List[Any]):
    """A list of texts, of at most `longest` entries where that is given."""

    def __init__(self, *, longest: int | None = None, **kwargs: Any) -> None:
        if longest is not None:
            kwargs["metadata"] = {**kwargs.get("metadata", {}), "maxItems": longest}
        super().__init__(fields.String(), allow_none=True, **kwargs)
        self.longest = longest

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        if not isinstance(value, list):
            raise refuse("list_type", "Input should be a valid list")
        if self.longest is not None and len(value) > self.longest:
            raise refuse("too_long", f"List should have at most {self.longest} items")
        for index, entry in enumerate(value):
            if not isinstance(entry, str):
                raise ValidationError({index: [Fault("string_type", "Input should be a valid string")]})
            check_text(entry)
        return value


class Object(fields.Dict):
    """A JSON object, kept as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refuse("dict_type", "Input should be a valid dictionary")
        check_json(value)
        return value


class Anything(fields.Raw):
    """Any JSON value, kept as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        check_json(value)
        return value


class Rates(Object):
    """A whole number for each of some names."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        rates = super()._deserialize(value, *args, **kwargs)
        for name, rate in rates.items():
            if isinstance(rate, bool) or not isinstance(rate, int) or not 0 <= rate <= MAXIMUM_INT64:
                raise ValidationError({name: [Fault("int_type", "Input should be a whole number from 0")]})
        return rates


def check_text(value: str) -> None:
    """Refuse what no store can keep: NUL, and halves of a character."""
    if "\x00" in value:
        raise refuse("string_nul", "String should not hold a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise refuse("string_unicode", "Input should be a valid unicode string") from error


def check_json(value: Any, depth: int = 0) -> None:
    """Refuse a JSON value that could not be stored and given back unchanged."""
    if depth > _DEEPEST:
        raise refuse("too_deep", f"Input should be nested at most {_DEEPEST} levels deep")
    match value:
        case str():
            check_text(value)
        case float() if not math.isfinite(value):
            raise refuse("finite_number", "Input should be a finite number")
        case int() if abs(value) > MAXIMUM_INT64:
            raise refuse("int_too_large", "Input should fit into 64 bits")
        case dict():
            for entry in (*value, *value.values()):
                check_json(entry, depth + 1)
        case list():
            for entry in value:
                check_json(entry, depth + 1)
