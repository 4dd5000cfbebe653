"""Embedding → recurrent layers → softmax. State is a value that goes in and comes out."""
