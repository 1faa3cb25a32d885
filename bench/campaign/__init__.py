"""What takes too long for the test suite and is run before a release: faults, and the calibration of the statistics."""
