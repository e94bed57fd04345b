"""How fast the losses are, and how much memory they take: `make bench`.

Every number is a ratio in the same run, so that it says something on another machine
too: to torch's own cross-entropy and to a copy of the logits, and for losses of
embeddings, trees and costs to the textbook form and other libraries. `cases` lists the
first kind, `families` the second with its goals, `measure` says how, `store` what is
kept in `book/results/bench.parquet`.
"""

import os

# Before torch is imported: its profiler would print two lines a measurement.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
