"""What a command was asked: flags, presets, settings, prompts to use, and the record of it all, the Request."""
