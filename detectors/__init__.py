"""Anything that turns frames into :class:`vis.structures.Detections`. Imports ``vis`` only."""
