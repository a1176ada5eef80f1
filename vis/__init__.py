"""The core of vis-tubes: types, the stream of four verbs, HQ-SAM, and the tube evaluator.

Knows no detector, no tracker and no page. Importing it is cheap: torch comes with the modules that
need it.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
