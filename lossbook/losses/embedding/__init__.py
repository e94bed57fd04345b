"""Losses of embeddings and of the distances or angles between them."""
