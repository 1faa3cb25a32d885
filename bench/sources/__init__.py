"""What comes from outside: pinned files and how they are made, and files of prompts."""
