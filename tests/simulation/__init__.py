"""The services over a database in memory, under a clock, a broker and workers that a seed decides.

Source: spec "reliability" §6. `python -m tests.simulation --seed N` replays one.
"""
