"""Language modelling: train on text, write, score."""
