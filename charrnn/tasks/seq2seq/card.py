"""The model card: a model directory's README.md."""

from __future__ import annotations

from typing import Any

from charrnn.tasks.seq2seq.report import figures_line


def model_card(name: str, config: dict[str, Any]) -> str:
    """Markdown for a person who finds the directory: data, split, figures, how to use."""
    training, task, vocabs = config["training"], config["task"], config["vocabs"]
    what = {"translate": "translates", "summarize": "summarizes"}[task]
    if "target" in vocabs:
        sides = " to ".join(f"{side['kind']} ids ({side['seen_size']:,})" for side in vocabs.values())
    else:
        sides = f"{vocabs['source']['kind']} ids ({vocabs['source']['seen_size']:,}) that both sides share"
    members = config["network"]["members"]
    network = "A recurrent network" if members == 1 else f"An ensemble of {members} recurrent networks"
    weight = training["joint_weight"]
    beside = f"| beside the network | a joint-sequence model, weight {weight:g} |\n" if weight else ""
    rows = "".join(
        f"| {part} | {training[part]['pairs']:,} pairs: {figures_line(training[part])} |\n"
        for part in ("validation", "test")
        if part in training
    )
    return f"""# {name}

{network} with attention ({config["network"]["cell"]}, {training["parameters"]:,} parameters) that {what} \
texts, trained
with charrnn.

| | |
|---|---|
| vocabulary | {sides} |
| training | {training["train_pairs"]:,} pairs, {training["step"]:,} of {training["total_steps"]:,} steps, \
{training["minutes"]:.1f} minutes on {training["device"]} in {training["precision"]} |
| validation split | {training["split"]} |
{beside}{rows}
    charrnn {task} {name} "a text"
    charrnn {task} {name} - < texts.txt
"""
