"""What takes too long for a test of every commit: commands that are killed, starved and run at once, again and again."""
