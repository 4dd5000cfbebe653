"""Classification of short texts: train on labelled texts, label others."""
