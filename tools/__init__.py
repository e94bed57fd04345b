"""The commands behind the Makefile. `python3 -m tools --help` lists them.

Before the virtual environment exists only the standard library is at hand, so
`cli`, `environment`, `browser`, `repository` and `testing` import nothing else.
"""
