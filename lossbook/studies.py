"""The studies that `make results` computes, by name.

A chapter that needs longer trainings than it may run adds a study here and reads its
rows with `lossbook.results.read`:

- of trainings that a `Config` can say, a `Study`: `configs=lambda: grid(...)`;
- of anything else, `Jobs`: a function, and the keyword arguments of each call.
"""

from lossbook import matrix
from lossbook.experiment import grid
from lossbook.results import AnyStudy, Study

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
STUDIES: dict[str, AnyStudy] = {
    study.name: study for study in (matrix.STUDY, FOCAL_NOISE)
}
