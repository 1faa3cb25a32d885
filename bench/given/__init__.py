"""Pictures that nobody here has made, scored like a policy's: layouts (what lies in a folder), prompts (what they
show), scoring."""
