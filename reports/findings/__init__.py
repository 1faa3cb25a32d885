"""What follows from a run: scores and differences with their claims, costs, health of training, reward hacking."""
