"""A fault schedule: real processes and servers are killed, frozen and flushed while runs of every node type go on.

Source: spec "reliability" §6. `python -m tests.faults --seconds 600 --runs 300 --seed N` prints the figures.
"""
