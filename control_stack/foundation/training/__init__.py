"""Everything that makes the policy: the batched simulator, the teachers, distillation and fine-tuning. Needs torch."""
