"""Text to ids: reading files, vocabularies, memory-mapped ids, splits and lanes. NumPy only, no torch."""
