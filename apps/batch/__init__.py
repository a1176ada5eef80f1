"""Many videos, unattended; killed at any moment, the same command goes on.

::

    inputs.py    folders, globs, lists, sets -> items with names
    run.py       the items done, and the reports
    pool.py      worker processes here;  apps/cluster.py: actors on a Ray cluster
    work.py      one video: its keys, its chunks, its run folder
    sessions.py  what the runs of the command cost together
    preview.py   what a run would do
    merge.py     one file of all videos
    summary.py   failures.jsonl, batch.json, batch.html
"""
