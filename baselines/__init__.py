"""The methods HT-GRPO is compared with: MaskGRPO, UniGRPO, TraceGRPO, and continued pre-training as a control."""
