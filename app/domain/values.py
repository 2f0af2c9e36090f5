"""What a rule says when a value can never be right."""


class InvalidValue(ValueError):
    """A request value that no rule can accept; `param` names the field, the text is fit for the caller."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidAlias(InvalidValue):
    """An alias that cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "key_alias")
