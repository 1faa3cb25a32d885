"""The trainer: policies, rollouts, one policy-gradient engine, and HT-GRPO itself."""

__version__ = "0.1.0"
