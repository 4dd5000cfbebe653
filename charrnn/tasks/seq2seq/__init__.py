"""Sequence to sequence: translation and summarization, one network with other data."""
