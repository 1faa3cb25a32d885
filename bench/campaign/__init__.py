"""What takes too long for a test of every commit and is run before a release: commands that are killed, starved and run at once,
again and again, and the calibration of the statistics."""
