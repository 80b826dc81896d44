"""The made table of patients: its causes are in its rows, its cells are read as meant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import statsmodels.api as sm
from click.testing import CliRunner

from causalmix.cli import main
from causalmix.data.dataset import load_dataset
from causalmix.scm.patients import patients_table


def test_the_table_has_its_causes():
    table = patients_table(4000, seed=1)
    age = table["age"].astype(float)
    crp = np.log1p(table["crp_mg_l"].str.lstrip("<").astype(float) / 20)
    treated = (table["antibiotics"] == "yes").astype(float)
    home = (table["outcome"] == "home").astype(float)
    assert home[treated == 1].mean() < home[treated == 0].mean() - 0.05  # the worse cases get them
    parts = pd.DataFrame({"age": age / 17, "crp": crp, "treated": treated}).assign(one=1.0)
    fitted = sm.Logit(home, parts).fit(disp=0)
    assert fitted.params["treated"] > 3 * fitted.bse["treated"]  # and yet they help
    assert fitted.params["age"] < 0


def test_the_command_writes_it_and_it_is_read_as_meant(tmp_path):
    path = tmp_path / "patients.csv"
    done = CliRunner().invoke(main, ["datasets", "--write", str(path)])
    assert done.exit_code == 0, done.output
    assert "240 made patients" in done.output
    table = load_dataset(path, target="outcome")
    assert table.class_names == ("died", "home", "rehab")
    assert min(table.y.value_counts()) > 15
    numbers = {"admitted", "last_seen", "age", "crp_mg_l", "creatinine", "weight_kg"}
    assert set(table.X.select_dtypes("number")) == numbers
    assert set(table.categorical) == {"sex", "ward", "antibiotics"}
    pd.testing.assert_frame_equal(patients_table(), patients_table(240, 0))
