"""The numbers of the HT-GRPO paper that we have, and ours beside them."""
