"""Writing and scoring: sampling filters, streamed text."""
