"""The embedded world: small pictures whose contents are known exactly, so that every verdict on them is exact too."""
