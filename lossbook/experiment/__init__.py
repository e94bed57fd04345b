"""Experiments: a frozen config in, a tidy row out, many of them in lockstep.

`train` trains a stack of small networks. `run` makes one row of one `Config`, `grid` a
list of configs, `sweep` their table:

>>> from lossbook.experiment import grid, sweep
>>> configs = grid(data="iris", loss=["cross_entropy", "mae"], epochs=5, seed=range(2))
>>> sweep(configs, progress=False)["loss"].tolist()
['cross_entropy', 'cross_entropy', 'mae', 'mae']
"""

from lossbook.experiment._calls import TRAINABLE
from lossbook.experiment._code import code_key, code_version, sources
from lossbook.experiment._config import Config, config_of, grid
from lossbook.experiment._lockstep import train
from lossbook.experiment._models import Models
from lossbook.experiment._run import history, needs, run, run_stack, share_tested
from lossbook.experiment._sweep import sweep
from lossbook.experiment._tasks import TASKS, resplit, task_of

__all__ = [
    "TASKS",
    "TRAINABLE",
    "Config",
    "Models",
    "code_key",
    "code_version",
    "config_of",
    "grid",
    "history",
    "needs",
    "resplit",
    "run",
    "run_stack",
    "share_tested",
    "sources",
    "sweep",
    "task_of",
    "train",
]
