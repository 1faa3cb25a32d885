"""The report of a run as a folder: its page, its gallery, and everything beside them."""
