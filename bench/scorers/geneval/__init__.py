"""What looks at pictures for GenEval: Mask2Former finds the objects, CLIP names their colours. The rule is
bench/scorers/geneval/rule.py."""
