"""Association of boxes, masks and embeddings across frames. Imports ``vis`` only; never torch."""
