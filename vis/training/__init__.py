"""Training of the HQ head on a frozen SAM: data, losses, loop.

``frozen`` runs everything that is never changed; ``teacher`` makes finer masks on real images, ``procedural``
and ``composites`` make exact ones; ``views`` and ``prompts`` draw what the student is shown and told;
``cache`` keeps frozen features on disk; ``losses`` compares. Knows no command line.
"""

from __future__ import annotations
