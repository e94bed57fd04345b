"""The glossary: sorted, in two languages, one or two sentences a term."""

import re
from itertools import pairwise

import pytest

from tests.docs.texts import read
from tools.paths import ROOT

BODY = re.compile(r"^:::\{glossary\}\n(.*?)^:::$", re.DOTALL | re.MULTILINE)
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def entries(text):
    """(English, Chinese, definition) of each term."""
    found = []
    for block in BODY.search(text)[1].strip().split("\n\n"):
        lines = block.splitlines()
        terms = [line for line in lines if not line.startswith(" ")]
        definition = [line.strip() for line in lines if line.startswith(" ")]
        found.append((*terms, " ".join(definition)))
    return found


def findings(text):
    """What is wrong with a glossary."""
    problems = []
    terms = entries(text)
    for entry in terms:
        if len(entry) != 3:
            problems.append(f"{entry[0]} must have one English and one Chinese name")
            continue
        english, chinese, definition = entry
        if CHINESE.search(english) or not CHINESE.search(chinese):
            problems.append(f"{english} must come before its Chinese name")
        sentences = len(re.findall(r"\.(?:\s|$)", definition))
        if not definition.endswith(".") or not 1 <= sentences <= 2:
            problems.append(f"{english} must have one or two sentences")
    names = [entry[0].casefold() for entry in terms]
    for before, after in pairwise(names):
        if not before < after:
            problems.append(f"{after} must stand before {before}, and once")
    chinese_names = [entry[1] for entry in terms if len(entry) == 3]
    if len(set(chinese_names)) < len(chinese_names):
        problems.append("a Chinese name stands twice")
    return problems


def glossary(*blocks):
    return ":::{glossary}\n" + "\n\n".join(blocks) + "\n:::\n"


ACCURACY = "accuracy\n准确率\n  The share of right answers."
MARGIN = "margin\n间隔\n  How far the truth\n  is ahead. Negative if wrong."


def test_the_glossary_keeps_its_rules():
    text = read(ROOT / "book/glossary.md")
    assert findings(text) == []
    assert 50 <= len(entries(text)) <= 150


def test_a_good_glossary_passes():
    assert findings(glossary(ACCURACY, MARGIN)) == []


@pytest.mark.parametrize(
    ("blocks", "finding"),
    [
        ((MARGIN, ACCURACY), "accuracy must stand before margin, and once"),
        ((MARGIN, MARGIN), "margin must stand before margin, and once"),
        (("bias\n  A tilt.",), "bias must have one English and one Chinese name"),
        (("偏差\nbias\n  A tilt.",), "偏差 must come before its Chinese name"),
        (("bias\n偏差\n  A tilt",), "bias must have one or two sentences"),
        (("bias\n偏差\n  A. B. C.",), "bias must have one or two sentences"),
        ((ACCURACY, "bias\n准确率\n  A tilt."), "a Chinese name stands twice"),
    ],
)
def test_a_bad_glossary_does_not(blocks, finding):
    assert finding in findings(glossary(*blocks))
