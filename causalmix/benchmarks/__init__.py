"""Everything that compares: arms, stores, summaries, committed results."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "analysis": [
            "gains_over",
            "harm_by_arm",
            "normalised_by_arm",
            "paired_differences",
            "planned_contrasts",
            "rank_arms",
            "select",
        ],
        "arms": ["ARMS", "run_benchmark"],
        "audit": ["describe_claims", "judge_claims"],
        "candidates": [
            "candidate_gains",
            "describe_choice",
            "describe_default",
            "judge_candidates",
        ],
        "csuite": ["benchmark_csuite"],
        "csuite_data": ["load_csuite", "load_published"],
        "curve_analysis": ["convergence_by_arm", "cost_by_arm", "curve_facts", "gaps_by_arm"],
        "discovery": ["run_discovery_benchmark"],
        "factors": ["beside_usual", "by_training_rows", "by_validation_rows", "effects_by"],
        "findings": [
            "compare_ways",
            "csuite_wins",
            "judge_searches",
            "judge_uses",
            "tabulate_probabilities",
            "tabulate_searches",
            "tabulate_uses",
        ],
        "fitting_speed": ["tabulate_fitting"],
        "results": ["describe_base_model", "load_record", "load_result", "load_store"],
        "search_comparison": ["compare_searches", "tabulate_comparisons"],
        "sensitivity": [
            "at_last_step",
            "contrasts_by_tables",
            "decisive_tables",
            "harm_falls",
        ],
        "stopping_rules": ["benchmark_rules"],
        "store_analysis": ["analyse_store", "describe_store", "judges_claims"],
        "structure": ["compare_known_models", "structure_contrasts"],
        "summary": ["improvements", "mean_ranks", "run_gaps", "run_table", "summarise"],
        "tabulate": ["tabulate", "tabulate_contrasts", "tabulate_traits"],
        "traits": ["read_traits"],
        "utility": ["benchmark_utility"],
        "variance": ["power", "variance_parts"],
        "zero_shot": ["evaluate_tfm"],
    },
)
