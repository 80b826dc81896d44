"""How good synthetic rows are: fidelity, privacy, use to learners."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["BASELINES"],
        "fidelity": [
            "correlation_matrix_difference",
            "k_marginal_tvd",
            "nearest_neighbour_adversarial_accuracy",
        ],
        "privacy": ["MembershipAttack", "membership_attack", "near_copy_share"],
        "report": ["REFERENCE", "quality_report"],
    },
)
