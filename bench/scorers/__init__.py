"""Models that judge pictures. `base` says what a scorer is, `native` what those in this process share; one file
each."""
