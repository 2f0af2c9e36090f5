"""No field of the API document without a test: a field that is new or whose test is gone fails here."""

import inspect
import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.seed_effects import ANSWERS, EFFECTS, Proof

SEED: dict[str, Any] = json.loads(Path(__file__).with_name("seed_fields.json").read_text())


def gaps(seed: Mapping[str, Any], effects: Mapping[str, Mapping[str, Proof]]) -> Iterator[str]:
    """Everything that keeps the table from being a proof."""
    for operation in sorted(seed.keys() ^ effects.keys()):
        yield f"{operation}: in one of document and table only"
    for operation in sorted(seed.keys() & effects.keys()):
        fields = {*seed[operation]["body"], *seed[operation]["parameters"]}
        for field in sorted(fields ^ effects[operation].keys()):
            yield f"{operation} {field}: in one of document and table only"
        for field in sorted(fields & effects[operation].keys()):
            fault = fault_of(effects[operation][field], field)
            if fault is not None:
                yield f"{operation} {field}: {fault}"


def fault_of(proof: Proof, field: str) -> str | None:
    if proof.test is None:
        return "no test"
    module, _, name = proof.test.partition("::")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return f"{proof.test} does not exist"
    tables = [mark.args for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
    if field not in inspect.getsource(function) and field not in repr(tables):
        return f"{proof.test} does not deal with it"
    return None


def test_every_field_parameter_and_header_of_the_document_has_a_test():
    assert list(gaps(SEED, EFFECTS)) == []


def test_the_answer_of_every_operation_has_a_test():
    assert ANSWERS.keys() == SEED.keys()
    assert [fault_of(proof, "") for proof in ANSWERS.values()] == [None] * len(SEED)


@pytest.mark.parametrize(
    ("proof", "fault"),
    [
        (None, "POST /x a_field: in one of document and table only"),
        (Proof("tests.api.test_generate::test_that_is_gone"), "does not exist"),
        (Proof("tests.api.no_such_module::test_a"), "does not exist"),
        (Proof("tests.api.test_block::test_saying_it_again_changes_nothing"), "does not deal with it"),
        (Proof(None), "no test"),
    ],
)
def test_a_field_without_a_test_is_told(proof: Proof | None, fault: str):
    seed = {"POST /x": {"body": ["a_field"], "parameters": []}}
    effects = {"POST /x": {} if proof is None else {"a_field": proof}}

    (told,) = gaps(seed, effects)

    assert told.endswith(fault)
