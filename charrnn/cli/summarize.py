"""`charrnn summarize`."""

from __future__ import annotations

from charrnn.cli.translate import command

summarize = command("summarize", "Summarize", "Summarize texts.")
