"""What looks at pictures for GenEval: Mask2Former finds the objects, CLIP names their colours. The rule is
bench/benchmarks/geneval_rule.py."""
