"""The page for a hosting service that runs ``app.py``: a Gradio Space, or ``python hosting/app.py``.

Settings come from the environment: VISTUBES_HOST (0.0.0.0), VISTUBES_PORT or PORT (7860), VISTUBES_AUTH
(NAME:PASSWORD), VISTUBES_MAX_FRAMES (600), VISTUBES_FOLDER (visitors' files; default: in the cache).
"""

from __future__ import annotations

import os
import sys

from apps.cli import main

words = ["demo", "--host", os.environ.get("VISTUBES_HOST", "0.0.0.0")]
words += ["--port", os.environ.get("VISTUBES_PORT") or os.environ.get("PORT") or "7860"]
words += ["--max-frames", os.environ.get("VISTUBES_MAX_FRAMES", "600"), "--keep-hours", "4"]
if folder := os.environ.get("VISTUBES_FOLDER"):
    words += ["--folder", folder]

if __name__ == "__main__":
    sys.exit(main(words))
