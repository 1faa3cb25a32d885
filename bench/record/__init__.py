"""What a run is on disk: its folder, its units of work, what makes it complete, its verdicts, a checkpoint's card."""
