"""Rules that choose weights, on curves whose best step is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from causalmix.errors import UnknownNameError
from causalmix.finetuning.stopping import RULES, choose, gains_of, replay, synthetic_weight

N_VAL = 30


def history(losses, *, se=0.0, **columns):
    """Curves of a run; `se` is the standard error of every gain after step 0."""
    steps = np.arange(len(losses))
    frame = pd.DataFrame(
        {"step": 4 * steps, "val_log_loss": losses, "val_gain_se": se * (steps > 0)}
    )
    return frame.assign(**columns)


def runs(n, *, gain, row_noise, bias=0.0, seed=0):
    """Histories of runs whose test gain rises linearly to `gain` over ten validations.

    Rows differ in how they gain, the same way at every step, as real validation rows do.
    """
    rng = np.random.default_rng(seed)
    progress = np.linspace(0, 1, 11)
    for _ in range(n):
        rows = gain + row_noise * rng.normal(size=N_VAL)
        made = gain + bias + row_noise * rng.normal(size=300)
        curves = {}
        for name, per_row in (("val", rows), ("synthetic_val", made)):
            gains = progress[:, None] * per_row
            curves[f"{name}_log_loss"] = 0.7 - gains.mean(axis=1)
            curves[f"{name}_gain_se"] = gains.std(axis=1, ddof=1) / np.sqrt(len(per_row))
        yield pd.DataFrame({"step": 4 * np.arange(11), **curves})


def share_kept(rule, level, **options):
    chosen = [choose(h, rule, level=level, n_val=N_VAL).kept for h in runs(400, **options)]
    return np.mean(np.array(chosen) > 0)


def test_log_loss_takes_the_lowest_and_the_first_of_equals():
    choice = choose(history([0.7, 0.6, 0.5, 0.5, 0.8]), "log_loss", n_val=N_VAL)
    assert (choice.candidate, choice.kept, choice.stale) == (2, 2, 2)
    assert choice.gain == pytest.approx(0.2)


def test_step_0_stays_where_nothing_is_gained():
    worse = history([0.7, 0.9, 0.8])
    assert choose(worse, "log_loss", n_val=N_VAL).candidate == 2
    for rule in ("log_loss", "smoothed"):
        choice = choose(worse, rule, n_val=N_VAL)
        assert (choice.kept, choice.stale) == (0, 2)
    assert choose(worse, "last", n_val=N_VAL).kept == 0
    assert choose(worse, "last", level=1.0, n_val=N_VAL).kept == 2
    for level in (0.5, 0.9, 1.0):
        for rule in ("log_loss", "last"):
            ruined = choose(history([0.7, np.inf, np.nan]), rule, level=level, n_val=N_VAL)
            assert ruined.kept == 0
    assert choose(history([0.7]), "log_loss", n_val=N_VAL).candidate == 0


def test_smoothing_is_not_taken_in_by_a_lucky_dip():
    losses = [0.70, 0.73, 0.60, 0.74, 0.68, 0.67, 0.66, 0.70]
    assert choose(history(losses), "log_loss", n_val=N_VAL).kept == 2
    assert choose(history(losses), "smoothed", n_val=N_VAL).kept == 5


def test_smoothing_passes_over_ruined_steps():
    losses = [0.70, 0.60, np.inf, np.nan, 0.68, np.inf, 0.66, 0.62]
    gains, _ = RULES["smoothed"].estimate(history(losses))
    np.testing.assert_allclose(gains, [0, 0.05, *[-np.inf] * 4, 0.06, 0.06])
    assert choose(history(losses), "smoothed", n_val=N_VAL).kept == 6
    assert choose(history([0.7, np.inf, 0.6, np.inf]), "smoothed", n_val=N_VAL).kept == 0


def test_repeated_splits_judge_by_their_own_curve():
    curves = history([0.7, 0.5, 0.9], splits_log_loss=[0.7, 0.8, 0.6], splits_gain_se=0.0)
    assert choose(curves, "repeated_splits", n_val=N_VAL).kept == 2


def test_the_test_needs_a_gain_above_the_quantile_of_student_t():
    # The 95 % quantile of Student's t with 29 degrees of freedom is 1.699.
    for se, kept in ((0.1 / 1.68, 0), (0.1 / 1.72, 1)):
        choice = choose(history([0.7, 0.6], se=se), "log_loss", level=0.05, n_val=N_VAL)
        assert choice.kept == kept
        assert choice.needed == pytest.approx(1.699 * se, rel=1e-3)
    unknown = history([0.7, 0.6], se=np.nan)
    assert choose(unknown, "log_loss", level=0.05, n_val=1).kept == 0
    assert choose(unknown, "log_loss", n_val=1).kept == 1


def test_above_a_half_it_is_step_0_that_has_to_prove_itself():
    for se, kept in ((0.1 / 1.68, 1), (0.1 / 1.72, 0)):
        worse = history([0.7, 0.8], se=se)
        assert choose(worse, "last", level=0.95, n_val=N_VAL).kept == kept
    assert choose(history([0.7, 0.8]), "last", level=0.95, n_val=N_VAL).kept == 0


def test_last_takes_the_last_and_never_loses_patience():
    choice = choose(history([0.7, 0.2, 0.6, 0.65]), "last", n_val=N_VAL)
    assert (choice.candidate, choice.kept, choice.stale) == (3, 3, 0)


@pytest.mark.parametrize("level", [0.05, 0.2, 0.8])
def test_the_level_bounds_how_often_useless_training_is_kept(level):
    useless = {"gain": 0.0, "row_noise": 0.5}
    assert share_kept("log_loss", 0.5, **useless) == pytest.approx(0.5, abs=0.08)
    assert share_kept("log_loss", level, **useless) == pytest.approx(level, abs=0.05)
    assert share_kept("log_loss", level, gain=0.3, row_noise=0.5) > 0.9
    assert share_kept("log_loss", level, gain=-0.4, row_noise=0.5) < 0.1


def test_the_level_bounds_the_last_step_alone_where_gains_wander():
    rng = np.random.default_rng(0)
    curves = []
    for walk in rng.normal(size=(300, 10, N_VAL)).cumsum(axis=1):
        errors = walk.std(axis=1, ddof=1) / np.sqrt(N_VAL)
        curves.append(history([1.0, *(1.0 - walk.mean(axis=1))], se=np.array([0.0, *errors])))
    kept = {
        rule: np.mean([choose(h, rule, level=0.2, n_val=N_VAL).kept > 0 for h in curves])
        for rule in ("last", "log_loss")
    }
    assert kept["last"] == pytest.approx(0.2, abs=0.06)
    assert kept["log_loss"] > 0.35


def test_faithful_synthetic_rows_sharpen_the_test():
    small = {"gain": 0.08, "row_noise": 0.5}  # a standard error of 0.09
    assert share_kept("augmented", 0.2, **small) > share_kept("log_loss", 0.2, **small) + 0.1
    harmful = small | {"gain": -0.08}
    assert share_kept("augmented", 0.2, **harmful) < share_kept("log_loss", 0.2, **harmful)


def test_biased_synthetic_rows_are_found_out():
    faithful, biased = (
        np.mean([synthetic_weight(h) for h in runs(100, gain=0.0, row_noise=0.5, bias=b)])
        for b in (0.0, 1.0)
    )
    assert faithful > 0.5
    assert biased < 0.05
    misled = share_kept("augmented", 0.2, gain=-0.1, row_noise=0.3, bias=1.0)
    assert misled < 0.05


def test_the_augmented_gain_is_the_weighted_mean():
    (h,) = runs(1, gain=0.1, row_noise=0.5)
    weight = synthetic_weight(h)
    real, _ = gains_of(h, "val")
    made, _ = gains_of(h, "synthetic_val")
    gains, _ = RULES["augmented"].estimate(h)
    np.testing.assert_allclose(gains, (1 - weight) * real + weight * made)


def test_a_replay_ends_where_patience_does():
    curves = history([0.7, 0.6, 0.65, 0.66, 0.2])
    assert replay(curves, "log_loss", n_val=N_VAL, patience=2).kept == 1
    assert replay(curves, "log_loss", n_val=N_VAL, patience=3).kept == 4
    assert replay(curves, "last", n_val=N_VAL, patience=1).kept == 4
    assert replay(curves.iloc[:2], "log_loss", n_val=N_VAL, patience=1).kept == 1


def test_an_unknown_rule_is_answered_with_the_known():
    with pytest.raises(UnknownNameError, match="repeated_splits"):
        choose(history([0.7, 0.6]), "luck", n_val=N_VAL)
