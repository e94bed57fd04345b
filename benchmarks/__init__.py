"""How fast the losses are, and how much memory they take: `make bench`.

Every number is a ratio to torch's own cross-entropy in the same run, so that it says
something on another machine too. `cases` lists what is measured, `measure` how,
`store` what is kept in `book/results/bench.parquet`.
"""

import os

# Before torch is imported: its profiler would print two lines a measurement.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
