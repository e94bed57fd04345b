"""What notebooks import: results in sentences, claims, verdicts, guesses."""

import numpy as np
import pytest
import torch

from lossbook import book
from lossbook.evidence import Refuted, equal


@pytest.fixture
def shown(monkeypatch):
    """Collect what a cell would display, as (Markdown, record)."""
    outputs = []

    def display(data, *, raw, metadata):
        assert raw
        outputs.append((data["text/markdown"], metadata.get("lossbook")))

    monkeypatch.setattr("IPython.display.display", display)
    return outputs


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (0.12345, {"digits": 2}, "0.12"),
        (0.8384, {"percent": True}, "83.8 %"),
        (-0.0123, {"digits": 2}, "−0.012"),
        (0.5, {"signed": True, "digits": 1}, "+0.5"),
        (123456.7, {"digits": 2}, "120,000"),
        (0, {}, "0.00"),
        (1.0, {"digits": 3}, "1.00"),
        (0.00001234, {"digits": 2}, "1.2e−05"),
        (torch.tensor(0.25), {"digits": 2}, "0.25"),
        (torch.tensor(0.25, requires_grad=True), {"digits": 2}, "0.25"),
        (0.9996, {"digits": 3}, "1.00"),
    ],
)
def test_numbers_are_rounded(value, options, text):
    assert book.number(value, **options) == text


@pytest.mark.parametrize(
    ("value", "digits"), [(0.125, 2), (0.1250000001, 2), (2.5, 1), (8.75, 2)]
)
def test_a_value_on_a_rounding_edge_is_refused(value, digits):
    with pytest.raises(ValueError, match="lies on a rounding edge"):
        book.number(value, digits)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="must be finite"):
        book.number(value)


def test_a_sentence_takes_its_values(shown):
    book.say("{:2} and {:+1%}, {} and {name:3}; $x_{1}$", 0.123, 0.05, 7, name=2.0)
    assert shown[0][0] == "0.12 and +5 %, 7 and 2.00; $x_{1}$"


def test_a_float_without_digits_is_refused():
    with pytest.raises(TypeError, match="must say how many digits"):
        book.say("{}", 0.5)
    with pytest.raises(TypeError, match=r"as in \{gain:3\}"):
        book.say("{gain}", gain=0.5)


def test_every_value_has_a_place():
    with pytest.raises(ValueError, match=r"0.5 does not"):
        book.say("nothing", 0.5)
    with pytest.raises(ValueError, match="every place needs a value, got 1"):
        book.say("{:2} {:2}", 0.5)
    with pytest.raises(ValueError, match="gain does not"):
        book.say("nothing", gain=0.5)


def test_a_claim_is_recorded(shown):
    book.claim("Two is $2$.", equal(2.0, 2.0), key="two")
    text, record = shown[0]
    assert 'id="claim-two"' in text
    assert "✓" in text
    assert record == {
        "kind": "claim",
        "id": "two",
        "statement": "Two is $2$.",
        "evidence": "equal, over 1 number",
        "tolerance": "exact",
    }


def test_a_false_claim_raises(shown):
    with pytest.raises(Refuted, match=r"claim refuted: Two is three\.: 2 differs"):
        book.claim("Two is three.", equal(2.0, 3.0))
    assert not shown


def test_a_claim_needs_evidence():
    with pytest.raises(TypeError, match="evidence must come from equal"):
        book.claim("Two is two.", True)


def test_a_verdict_is_recorded(shown):
    book.verdict("S1", "half", "All is well.", equal(1, 1), because="Not all.")
    text, record = shown[0]
    assert "Half true" in text
    assert (record["id"], record["verdict"]) == ("S1", "half")


def test_a_verdict_without_support_raises():
    with pytest.raises(Refuted, match="verdict on S1"):
        book.verdict("S1", "true", "All is well.", equal(1, 2), because="…")


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match="judged must be one of true, half, false"):
        book.verdict("S1", "maybe", "…", equal(1, 1), because="…")


def test_a_guess_marks_one_answer_as_right(shown):
    book.quiz("Which?", {"this": "so.", "that": "no."}, answer=1)
    text = shown[0][0]
    assert text.index("✗ Not so. so.") < text.index("✓ Right. no.")


def test_a_guess_needs_its_answer_among_the_choices():
    with pytest.raises(ValueError, match="answer must be one of the choices"):
        book.quiz("Which?", {"this": "", "that": ""}, answer="other")


def test_a_table_rounds(shown):
    book.table({"name": ["a|b"], "value": [0.12345], "count": [-1000], "top": [np.inf]})
    assert shown[0][0].splitlines()[-1] == "| a\\|b | 0.123 | −1,000 | ∞ |"


def test_columns_must_agree():
    with pytest.raises(
        ValueError, match=r"columns must be of one length, got \[1, 2\]"
    ):
        book.table({"a": [1], "b": [1, 2]})


def test_code_is_shown_as_it_stands(shown):
    book.show(test_columns_must_agree, np.mean)
    assert "def test_columns_must_agree():" in shown[0][0]


def test_docstrings_are_left_out(shown):
    book.show(book.number)
    assert "on a rounding edge:" not in shown[0][0]
    assert "math.isfinite" in shown[0][0]


def test_setup_makes_results_repeat():
    draws = [(book.setup(3).normal(), torch.rand(1).item()) for _ in range(2)]
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    assert draws[0] == draws[1]
    assert (threads, dtype) == (1, torch.float64)
