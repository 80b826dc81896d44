"""What figures, tables and sentences call an arm.

The labels of arms lie with them; here are those that plans make from them by other settings.
"""

from __future__ import annotations

from causalmix.benchmarks import arms, structure

_OF_PLANS = {
    "causal_queries": "CausalMix, rows among queries",
    "causal_rehearsal_all_rows": "CausalMix and rehearsal, no validation rows",
    "causal_whole": "CausalMix, whole network",
    "default_3e-4": "Default, rate 3e-4",
    "default_4_tasks": "Default, 4 tasks a step",
    "default_80": "Default, 80 steps",
    "default_cosine": "Default, rate that falls",
    "default_vectors": "Default, norms and biases",
    "default_whole": "Default, whole network",
    "default_whole_1e-4": "Default, whole network, rate 1e-4",
    "rehearsal_3_of_4": "Rehearsal, three of four tasks",
    "rehearsal_all_rows": "Rehearsal, no validation rows",
    "zero_shot_8": "Zero-shot, 8 members",
}

ARM_LABELS = {name: arm.label for name, arm in (structure.ARMS | arms.ARMS).items()} | _OF_PLANS
"""By name. A plan of a reader's may have others: those are shown as it spells them."""
