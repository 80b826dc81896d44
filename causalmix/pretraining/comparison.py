"""Does the game pay? ``python -m causalmix.pretraining.comparison FOLDER``.

Games (`causalmix.pretraining.adversarial`) against plain continuation of the same checkpoint for as
many steps, with several seeds. All final networks predict the same tasks from all regions.

Writes to the folder given a subfolder a game, and ``games.csv`` (a row a game),
``games_rounds.csv`` (a row a game, round and region), ``games_gaps.csv`` (a row a game and task),
``games_summary.csv`` and ``games_manifest.json``. Run again, it goes
on with games that were interrupted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from causalmix.atomic import make_folder, replace_file
from causalmix.benchmarks.comparison import mean_and_interval
from causalmix.benchmarks.zero_shot import TFM, evaluate_tfm
from causalmix.data.folder import read_tables
from causalmix.errors import CausalMixError, check_names, check_whole
from causalmix.manifest import file_hash, make_manifest, read_json, write_json
from causalmix.pretraining.adversarial import RULES, GameConfig, play, read_config
from causalmix.pretraining.gaps import (
    draw_probes,
    learner_losses,
    network_losses,
    optimality_gaps,
)
from causalmix.pretraining.regions import KNOBS
from causalmix.quality.baselines import BASELINES
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm

PLAIN = "plain"
START = "start"
"""Name of the checkpoint that all games start from, among them."""

_SEED = 1_000_003  # of the tasks that all are compared on; no game draws from it
_POWER = 0.8


@dataclass(frozen=True)
class GameComparison:
    """Results of `compare_games`.

    Attributes
    ----------
    games : pandas.DataFrame
        A row a game: ``rule``, ``seed``, ``held_out_loss`` at the end (nats), ``steps``,
        ``tables`` it trained on, rounds ``undone``.
    rounds : pandas.DataFrame
        What :func:`causalmix.pretraining.adversarial.play` returns, with ``rule`` and ``seed``.
    gaps : pandas.DataFrame
        A row a game and task, and those of the start: ``rule``, ``seed``, ``batch``, a column a
        knob, ``loss`` and ``gap``.
    real : pandas.DataFrame, optional
        A row a game, real table and split, and those of the start: ``rule``, ``seed``, ``dataset``,
        ``split``, ``auc`` and ``log_loss``.
    summary : pandas.DataFrame
        As `summarise_games` returns it.
    """

    games: pd.DataFrame
    rounds: pd.DataFrame
    gaps: pd.DataFrame
    real: pd.DataFrame | None
    summary: pd.DataFrame


def compare_games(
    folder: str | Path,
    config: GameConfig | None = None,
    *,
    rules: Collection[str] = ("softmax", "bandit"),
    seeds: int = 3,
    probes: int = 64,
    data: str | Path | None = None,
    start_from: str | Path = EMBEDDED_CHECKPOINT,
    **computing: Any,
) -> GameComparison:
    """Play games with several seeds, and plain continuation, and compare what came of them.

    Parameters
    ----------
    folder : str or Path
        Where games and results go.
    config : GameConfig, optional
        Settings of the games; rule and seed are set here.
    rules : collection of str, default=("softmax", "bandit")
        Of `causalmix.pretraining.adversarial.RULES`; plain continuation is always there.
    seeds : int, default=3
        Games of each.
    probes : int, default=64
        Batches of two tasks that all are compared on.
    data : str or Path, optional
        Folder of real tables, as :func:`causalmix.benchmarks.zero_shot.evaluate_tfm` takes it: all
        final networks predict them too, zero-shot with 64 labelled rows, two splits each.
    start_from : str or Path, optional
        Checkpoint that all start from; by default the embedded one.
    **computing
        `held_out`, `device`, `producers`, `workers` and `progress` of
        :func:`causalmix.pretraining.adversarial.play`.

    Returns
    -------
    GameComparison

    Raises
    ------
    CheckpointError, CausalMixError
        As :func:`causalmix.pretraining.adversarial.play` raises them.
    """
    config, folder, start_from = config or GameConfig(), Path(folder), Path(start_from)
    check_names(rules, RULES, "rule")
    check_whole(seeds, 1, "seeds")
    check_whole(probes, max(map(len, KNOBS.values())), "probes")
    if data is not None:  # before hours of games
        read_tables(data)
    make_folder(folder)
    played = [PLAIN, *(rule for rule in rules if rule != PLAIN)]
    games, rounds = [], []
    for seed in range(seeds):
        for rule in played:
            own = folder / f"{rule}_{seed}"
            game = replace(config, rule=rule, seed=seed)
            regions = play(own, game, start_from=start_from, **computing)
            games.append({"rule": rule, "seed": seed, **_read_game(own)})
            rounds.append(regions.assign(rule=rule, seed=seed))
    gaps = _compare_gaps(folder, config, games, probes, start_from, computing.get("workers", 1))
    real = None if data is None else _evaluate_real(folder, Path(data), games, start_from)
    summary = summarise_games(pd.DataFrame(games), gaps, real)
    moved = pd.concat([each for each in rounds if len(each)] or rounds[:1], ignore_index=True)
    found = GameComparison(pd.DataFrame(games), moved, gaps, real, summary)
    replace_file(folder / "games.csv", partial(found.games.to_csv, index=False))
    for name in ("rounds", "gaps", "real", "summary"):
        rows = getattr(found, name)
        if rows is not None:
            write = partial(rows.to_csv, index=False, float_format="%.6g")
            replace_file(folder / f"games_{name}.csv", write)
    tables = {} if data is None else read_tables(data)[0]
    hashes = {name: table.content_hash for name, table in tables.items()}
    manifest = _manifest(config, seeds, probes, start_from, hashes)
    write_json(folder / "games_manifest.json", manifest)
    return found


def _read_game(folder: Path) -> dict[str, Any]:
    game = read_json(folder / "game.json", "the rounds of a game", "Delete its folder.")
    rounds = game["rounds"]
    kept = [each["held_out_loss"] for each in rounds if each["kept"]]
    log = pd.read_csv(folder / "log.csv")
    return {
        "held_out_loss": kept[-1] if kept else log["held_out_loss"].iloc[0],
        "start_loss": log["held_out_loss"].iloc[0],
        "steps": int(log["step"].iloc[-1]),
        "tables": sum(each["tables"] for each in rounds),
        "undone": sum(not each["kept"] for each in rounds),
        "seconds": log["seconds"].iloc[-1],
    }


def _compare_gaps(
    folder: Path,
    config: GameConfig,
    games: Sequence[dict[str, Any]],
    n_probes: int,
    start_from: Path,
    workers: int,
) -> pd.DataFrame:
    """Losses and gaps of the start and of all final networks on the same tasks."""
    probes = draw_probes(config.prior, n_probes, (_SEED,))
    tasks = learner_losses(probes, config.learners, workers)
    parts = []
    for rule, seed, path in _networks(folder, games, start_from):
        losses = network_losses(load_tfm(path).network, probes)
        gaps = optimality_gaps(losses, tasks, config.learners)
        parts.append(tasks.assign(rule=rule, seed=seed, loss=losses, gap=gaps))
    return pd.concat(parts, ignore_index=True)


def _networks(
    folder: Path, games: Sequence[dict[str, Any]], start_from: Path
) -> Iterator[tuple[str, int, Path]]:
    """Yield rule, seed and checkpoint of the start and of all games."""
    yield START, 0, start_from
    for game in games:
        name = f"{game['rule']}_{game['seed']}"
        yield game["rule"], game["seed"], folder / name / "model.safetensors"


def _evaluate_real(
    folder: Path, data: Path, games: Sequence[dict[str, Any]], start_from: Path
) -> pd.DataFrame:
    """Zero-shot scores of the start and of all final networks on real tables."""
    parts = []
    for rule, seed, path in _networks(folder, games, start_from):
        own = folder / f"{rule}_{seed}"
        make_folder(own)
        rows = evaluate_tfm(
            data, own / "real.csv", tfm=path, n_train=(64,), seeds=2, methods=(TFM,), workers=0
        ).rows.rename(columns={"seed": "split"})
        kept = rows[["dataset", "split", "auc", "log_loss"]]
        parts.append(kept.assign(rule=rule, seed=seed))
    return pd.concat(parts, ignore_index=True)


def summarise_games(
    games: pd.DataFrame, gaps: pd.DataFrame, real: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Compare every rule with plain continuation.

    Parameters
    ----------
    games, gaps, real : pandas.DataFrame
        As `GameComparison` has them.

    Returns
    -------
    pandas.DataFrame
        A row a rule and measure: ``held-out loss``, ``auc`` and ``log_loss`` of real tables, and
        ``gap`` of all tasks, each with its mean ``difference`` from plain continuation over seeds,
        Student's 95 % interval, and the ``detectable`` difference, which a paired test with as many
        seeds would find with 80 % power. Then the ``gap`` of each ``region``, a mean over seeds and
        tasks, with a bootstrap interval over batches: other games of these rules may differ more.
        ``start`` is the gap before any game.
    """
    rows = []
    of_games = {"held-out loss": games.set_index(["rule", "seed"])["held_out_loss"]}
    if real is not None:
        of_games |= {s: real.groupby(["rule", "seed"])[s].mean() for s in ("auc", "log_loss")}
    of_games["gap"] = gaps.groupby(["rule", "seed"])["gap"].mean()
    task = ["batch", "task"]
    numbered = gaps.assign(task=gaps.groupby(["rule", "seed", "batch"]).cumcount())
    mean = numbered.groupby(["rule", *task])["gap"].mean().unstack("rule")
    regions = numbered[numbered["rule"] == START].set_index(task)[[k for k in KNOBS if k in gaps]]
    for rule in [name for name in games["rule"].unique() if name != PLAIN]:
        for measure, values in of_games.items():
            everywhere = {"knob": "all", "region": "all"} if measure == "gap" else {}
            rows.append(
                {"rule": rule, "measure": measure}
                | everywhere
                | _over_seeds(values[rule] - values[PLAIN])
            )
        difference = (mean[rule] - mean[PLAIN]).dropna()
        for knob in regions:
            for region, part in difference.groupby(regions[knob].reindex(difference.index)):
                batches = part.groupby("batch").mean()
                rows.append(
                    {"rule": rule, "measure": "gap", "knob": knob, "region": region}
                    | {"start": mean.loc[part.index, START].mean(), "n": len(batches)}
                    | mean_and_interval(batches.to_numpy(), "difference")
                )
    return pd.DataFrame(rows)


def _over_seeds(differences: pd.Series) -> dict[str, float]:
    """Mean with Student's interval, and the mean that as many seeds would detect."""
    n, mean = len(differences), differences.mean()
    if n < 2:
        return {"n": n, "difference": mean}
    error = differences.std(ddof=1) / np.sqrt(n)
    bound = stats.t.ppf(0.975, n - 1)
    return {
        "n": n,
        "difference": mean,
        "low": mean - bound * error,
        "high": mean + bound * error,
        "detectable": (bound + stats.t.ppf(_POWER, n - 1)) * error,
    }


def _manifest(
    config: GameConfig, seeds: int, probes: int, start_from: Path, data: dict[str, str]
) -> dict[str, Any]:
    settings = json.loads(json.dumps(asdict(config))) | {"seeds": seeds, "compared_on": probes}
    settings["learners"] = {name: BASELINES[name].version for name in config.learners}
    settings["start"] = {
        "file_hash": file_hash(start_from),
        "content_hash": load_tfm(start_from).content_hash,
    }
    return make_manifest(settings, data)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m causalmix.pretraining.comparison",
        description="Play games of pre-training against plain continuation, and compare them.",
    )
    parser.add_argument("folder", type=Path, help="where games and results are written")
    parser.add_argument("--config", type=Path, help="YAML of a game; by default a small one")
    parser.add_argument("--rules", default="softmax,bandit", help="default softmax,bandit")
    parser.add_argument("--seeds", type=int, default=3, help="games of each (default 3)")
    parser.add_argument("--probes", type=int, default=64, help="batches to compare on (default 64)")
    parser.add_argument("--data", type=Path, help="folder of real tables to compare on too")
    parser.add_argument("--start-from", type=Path, default=EMBEDDED_CHECKPOINT, help="checkpoint")
    parser.add_argument("--device", default="auto", help='"auto" (default), "cpu", "cuda", …')
    parser.add_argument("--producers", type=int, default=0, help="processes that make tasks")
    parser.add_argument("--workers", type=int, default=1, help="processes that fit learners")
    options = vars(parser.parse_args(arguments))
    try:
        path, rules = options.pop("config"), options.pop("rules").split(",")
        config = read_config(path) if path else GameConfig()
        folder = options.pop("folder")
        found = compare_games(folder, config, rules=rules, progress=True, **options)
    except CausalMixError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(found.summary.to_string(index=False, float_format="{:.4f}".format, na_rep=""))


if __name__ == "__main__":
    main()
