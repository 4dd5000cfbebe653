#!/usr/bin/env python3
"""Trains a classifier of short texts: see --help."""

from charrnn.cli import run
from charrnn.cli.finetune_classifier import finetune_classifier

if __name__ == "__main__":
    run(finetune_classifier, "finetune_classifier.py")
