"""Variants of one method against its default: studies, their figures, and their report."""
