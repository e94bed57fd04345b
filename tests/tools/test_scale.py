"""A sweep on a cluster: shown, run, compared."""

import pandas as pd
import pytest
from dask.distributed import LocalCluster

from lossbook.experiment import grid
from tools import scale
from tools.console import Stopped


def test_a_running_cluster_gives_the_same_rows(monkeypatch, capsys):
    monkeypatch.setattr(scale, "configs", lambda: grid(data="iris", epochs=2, seed=[0]))
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=False, **options) as cluster:
        address = cluster.scheduler_address
        assert scale.main(["--scheduler", address]) == 0
    told = capsys.readouterr().out
    assert "dask worker ADDRESS --nworkers 4 --nthreads 1" in told
    assert f"the same on {address}: " in told
    assert told.endswith("The rows are the same.\n")


def test_the_command_that_is_shown_is_python():
    shown = scale.HOW.split("\n\n")
    code = "\n".join(line[2:] for part in shown[2:4] for line in part.splitlines())
    compile(code, "HOW", "exec")
    assert "parallel_config" in code


def test_other_rows_are_told():
    rows = pd.DataFrame({"seconds": [1.0], "device": ["cpu"], "nll": [0.5]})
    scale.compare(rows, rows.assign(seconds=2.0, device="other"))
    with pytest.raises(Stopped, match="must be those of one process, and differ"):
        scale.compare(rows, rows.assign(nll=0.5 + 1e-15))


def test_a_cluster_of_nobody_is_refused():
    with pytest.raises(Stopped, match="workers must be at least 1, got 0"):
        scale.main(["--workers", "0"])
