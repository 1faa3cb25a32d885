"""Text retention: can a policy still read and write after it was trained to paint? lm-eval's tasks, on our policies.

In the order in which one may read: settings, reader (the network as text is read with it), likelihood, generation,
words (text and ids), model (what lm-eval calls), evaluation (what calls lm-eval), benchmark.
"""
