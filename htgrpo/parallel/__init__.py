"""All that knows of several processes."""
