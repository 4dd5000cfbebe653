#!/usr/bin/env python3
"""Trains a network that summarizes: see --help."""

from charrnn.cli import run
from charrnn.cli.train_seq2seq import train_summarizer

if __name__ == "__main__":
    run(train_summarizer, "train_summarizer.py")
