#!/usr/bin/env python3
"""Trains a network that translates: see --help."""

from charrnn.cli import run
from charrnn.cli.train_seq2seq import train_translator

if __name__ == "__main__":
    run(train_translator, "train_translator.py")
