"""Training of the HQ head on a frozen SAM: data, losses, loop.

``datasets`` reads images with masks; ``views`` and ``prompts`` draw what the head is shown and told; ``frozen``
runs everything that is never changed. Its results go to the ``loop`` by way of the disk (``prepare``, ``cache``,
``sources``: for CPUs) or live (``stream``: for GPUs). ``losses`` compares, ``evaluate`` scores,
``export`` writes. ``labelling`` chooses which tubes of a result serve as pseudo-labels. Knows no command line.
"""

from __future__ import annotations
