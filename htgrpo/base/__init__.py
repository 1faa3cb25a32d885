"""What everything stands on and nothing of the idea needs explaining: files, options, registries, errors, pictures."""
