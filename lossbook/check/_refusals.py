"""Bad input is refused with one sentence: what must hold, what came, what to do."""

from collections.abc import Iterator
from typing import Any

import torch

from lossbook.card import LossCard
from lossbook.check._calls import EXAMPLES, covers, settled
from lossbook.evidence import Evidence

Refusal = tuple[tuple[Any, Any], str]

Z = torch.zeros(2, 3)
NAN = torch.tensor([[0.0, 0.0, 0.0], [0.0, float("nan"), 0.0]])
LABELS = torch.tensor([0, 1])
THIRDS = torch.full((2, 3), 1 / 3)
S = torch.zeros(2)
NAN_S = torch.tensor([0.0, float("nan")])
NAN_MESSAGE = (
    "must be finite numbers (or -inf for a class that is ruled out), got nan at {}; "
    "the model's output had already left the numbers: lower the learning rate or look "
    "at its input"
)

REFUSED: dict[str, list[Refusal]] = {
    "labels": [
        (
            (Z, torch.tensor([0, 3])),
            "labels must lie in 0..2 (there are 3 classes), got 3",
        ),
        (
            (Z, torch.tensor([-1, 0])),
            "labels must lie in 0..2 (there are 3 classes), got -1",
        ),
        (
            (Z, torch.tensor([0])),
            "labels must have the shape of logits without the class axis, (2,), got "
            "(1,); classes are the last axis, and Criterion takes them from another "
            "one",
        ),
        (
            (Z, THIRDS),
            "labels must be class indices of an integer dtype, got torch.float32; for "
            "class probabilities use soft_cross_entropy",
        ),
        (
            ([[0.0]], LABELS),
            "logits must be a torch tensor, got list; use torch.as_tensor(logits)",
        ),
        (
            (Z, [0, 1]),
            "labels must be a torch tensor, got list; use torch.as_tensor(labels)",
        ),
        ((Z.long(), LABELS), "logits must be of a floating dtype, got torch.int64"),
        (
            (torch.zeros(2, 0), LABELS),
            "logits must have a last axis with one entry a class, got shape (2, 0)",
        ),
        ((NAN, LABELS), "logits " + NAN_MESSAGE.format("(1, 1)")),
    ],
    "targets": [
        (
            (Z, torch.full((2, 3), 0.5)),
            "targets must sum to 1 over the classes, got 1.5; divide them by their "
            "sum, or use softmax",
        ),
        (
            (Z, torch.tensor([[1.5, -0.5, 0.0]] * 2)),
            "targets must be probabilities, none negative, got -0.5",
        ),
        (
            (Z, torch.ones(2)),
            "targets must have the shape of logits, (2, 3), got (2,)",
        ),
        (
            (Z, LABELS),
            "targets must be probabilities of a floating dtype, got torch.int64; for "
            "class indices use cross_entropy",
        ),
        (
            ([0.0], THIRDS),
            "logits must be a torch tensor, got list; use torch.as_tensor(logits)",
        ),
        ((NAN, THIRDS), "logits " + NAN_MESSAGE.format("(1, 1)")),
    ],
    "margin": [
        (
            (S, torch.tensor([0.0, 1.0])),
            "signs must be -1 or +1, got 0; turn classes 0 and 1 into signs with "
            "2 * labels - 1",
        ),
        (
            (S, torch.tensor([True, False])),
            "signs must be -1 or +1, got torch.bool; turn classes 0 and 1 into signs "
            "with 2 * labels - 1",
        ),
        (
            (S, torch.ones(3)),
            "signs must have the shape of scores, (2,), got (3,)",
        ),
        ((S.long(), S + 1), "scores must be of a floating dtype, got torch.int64"),
        (
            (S, [1, 1]),
            "signs must be a torch tensor, got list; use torch.as_tensor(signs)",
        ),
        ((NAN_S, torch.ones(2)), "scores " + NAN_MESSAGE.format("(1,)")),
    ],
    "binary": [
        (
            (S, torch.tensor([-1.0, 1.0])),
            "targets must lie between 0 and 1, got -1; turn signs -1 and +1 into "
            "targets with (signs + 1) / 2",
        ),
        (
            (S, torch.tensor([0.5, 2.0])),
            "targets must lie between 0 and 1, got 2; turn signs -1 and +1 into "
            "targets with (signs + 1) / 2",
        ),
        (
            (S, torch.ones(2, 1)),
            "targets must have the shape of scores, (2,), got (2, 1)",
        ),
        (
            ([0.0], S),
            "scores must be a torch tensor, got list; use torch.as_tensor(scores)",
        ),
        ((NAN_S, S), "scores " + NAN_MESSAGE.format("(1,)")),
    ],
}
# What is said of logits is said of cosines; no loss of cosines takes probabilities.
REFUSED["cosine"] = [
    (arrays, message.replace("logits", "cosines").split("; for class")[0])
    for arrays, message in REFUSED["labels"]
] + [
    (
        (Z + 2, LABELS),
        "cosines must lie between -1 and 1, got 2; divide embeddings and class vectors "
        "by their lengths, as CosineHead does",
    ),
    (
        (Z - 1.001, LABELS),
        "cosines must lie between -1 and 1, got -1.001; divide embeddings and class "
        "vectors by their lengths, as CosineHead does",
    ),
]


@covers(*EXAMPLES)
def refusals(card: LossCard) -> Evidence:
    """Each kind of bad input is refused, with the whole message."""

    def cases() -> Iterator[tuple[str, float]]:
        for arrays, message in REFUSED[card.kind]:
            said = _refusal(card, arrays)
            yield f"'{message}' became '{said}', which", float(said != message)

    return settled(card, "bad input is refused with the whole message", cases(), 0.0)


def _refusal(card: LossCard, arrays: tuple[Any, Any]) -> str:
    try:
        card.make(3, **card.defaults())(*arrays)
    except Exception as refusal:  # any error but the right one is a finding
        return str(refusal)
    return "no error"
