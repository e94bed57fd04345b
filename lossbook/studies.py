"""The studies that `make results` computes, by name.

A chapter that needs longer trainings than it may run adds a study here and reads its
rows with `lossbook.results.read`:

- of trainings that a `Config` can say, a `Study`: `configs=lambda: grid(...)`;
- of anything else, `Jobs`: a function, and the keyword arguments of each call.
"""

from lossbook import matrix
from lossbook.results import AnyStudy

STUDIES: dict[str, AnyStudy] = {study.name: study for study in (matrix.STUDY,)}
