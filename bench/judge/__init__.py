"""A policy's pictures, and what judges say of them."""
