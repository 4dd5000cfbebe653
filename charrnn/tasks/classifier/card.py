"""The model card: a model directory's README.md."""

from __future__ import annotations

from typing import Any

SHOWN_LABELS = 30


def model_card(name: str, config: dict[str, Any]) -> str:
    """Markdown for a person who finds the directory: data, split, figures, how to use."""
    labels, training = config["labels"], config["training"]
    more = f" and {len(labels) - SHOWN_LABELS:,} more" if len(labels) > SHOWN_LABELS else ""
    kind = "any number of labels" if config["multi_label"] else "one label"
    training_texts = f"{training['train_texts']:,} texts"
    if training["texts_without_labels"]:
        training_texts += f", and {training['texts_without_labels']:,} without labels for the models beside the network"
    words = f" and the meaning of {training['words']:,} words" if training["words"] else ""
    beside = f"a linear model over n-grams{words}"
    beside += " and an n-gram model of each label's texts" if config["blend"]["ngrams"] else ""
    rows = "".join(
        f"| {part} | {figures['texts']:,} texts: accuracy {100 * figures['accuracy']:.1f} %, "
        f"macro F1 {100 * figures['macro_f1']:.1f} %, "
        f"calibration error {100 * figures['expected_calibration_error']:.1f} % |\n"
        for part, figures in training.items()
        if part in ("validation", "test")
    )
    return f"""# {name}

A classifier of short texts, {kind} a text, trained with charrnn: a recurrent network ({config["network"]["cell"]},
{training["parameters"]:,} parameters) that reads {" and ".join(config["vocabs"])} ids in both directions, blended with
{beside}.

| | |
|---|---|
| labels | {len(labels):,}: {", ".join(labels[:SHOWN_LABELS])}{more} |
| training | {training_texts}, {training["step"]:,} of {training["total_steps"]:,} steps, \
{training["minutes"]:.1f} minutes on {training["device"]} in {training["precision"]} |
| validation split | {training["split"]} |
{rows}
    charrnn classify {name} "a text"
    charrnn classify {name} - < texts.txt
"""
