"""The studies that `make results` computes, by name.

A chapter that needs longer trainings than it may run adds a study here and reads its
rows with `lossbook.results.read`:

- of trainings that a `Config` can say, a `Study`: `configs=lambda: grid(...)`;
- of anything else, `Jobs`: a function, and the keyword arguments of each call.
"""

from itertools import product
from typing import Any

from lossbook import matrix
from lossbook.experiment import grid, train
from lossbook.results import AnyStudy, Jobs, Row, Study

FOCAL_NOISE = Study(
    name="focal_noise",
    about="Focal loss and cross-entropy on digits, with right and with wrong labels.",
    configs=lambda: grid(
        data="digits",
        train=1500,
        hidden=(64,),
        epochs=40,
        batch_size=100,
        learning_rate=0.01,
        noise="symmetric",
        noise_rate=[0.0, 0.3],
        loss=["cross_entropy", "focal"],
        seed=range(10),
    ),
)


def _ranked(gamma: float, alpha: float) -> list[Row]:
    """Train binary focal loss on rare blobs; return how well each seed's model ranks.

    Seeds from 1000 on are for tuning.
    """
    from sklearn.metrics import average_precision_score

    from lossbook import data
    from lossbook.losses import CATALOGUE

    def loss(logits: Any, labels: Any) -> Any:
        scores = logits[..., 1] - logits[..., 0]
        focal = CATALOGUE["binary_focal"].fn
        return focal(scores, labels.to(scores), gamma=gamma, alpha=alpha)

    seeds = [*range(10), *range(1000, 1003)]
    seen = data.repeat(data.rare_blobs, 10_000, seeds=seeds)
    later = data.repeat(data.rare_blobs, 10_000, seeds=[s + 5000 for s in seeds])
    models = train(
        seen.inputs,
        seen.labels,
        loss,
        seeds=seeds,
        hidden=(16, 16),
        batch_size=256,
        steps=200,
        learning_rate=0.03,
    )
    p = models.probabilities(later.inputs)[..., 1]
    return [
        {"seed": seed, "average_precision": float(average_precision_score(*pair))}
        for seed, *pair in zip(seeds, later.labels, p, strict=True)
    ]


FOCAL_BLOBS = Jobs(
    name="focal_blobs",
    about="Focal loss and weighted cross-entropy on one positive in a hundred.",
    settings=lambda: [
        {"gamma": gamma, "alpha": alpha}
        for gamma, alpha in product((0.0, 2.0), (0.05, 0.1, 0.25, 0.5, 0.75, 0.95))
    ],
    make=_ranked,
    modules=("losses/imbalance/_binary_focal.py", "data/_gaussians.py"),
    each=13,
)
STUDIES: dict[str, AnyStudy] = {
    study.name: study for study in (matrix.STUDY, FOCAL_NOISE, FOCAL_BLOBS)
}
