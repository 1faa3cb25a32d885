"""Policies: one LLaDA network; a backbone is a record of ids, prompt layout and image block, with a codec beside it."""
