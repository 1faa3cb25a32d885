"""What the files of a run hold, read and checked: verdicts as blocks, trainings, pictures."""
