"""Classification tables from openml.org, kept in scikit-learn's cache folder."""

from __future__ import annotations

import warnings
from urllib.error import URLError

from sklearn.datasets import fetch_openml, get_data_home
from sklearn.utils import Bunch

from causalmix.data.files import RawTable, check_columns
from causalmix.errors import DataError, UnknownNameError

N_RETRIES = 2
"""Attempts after a failed download, one second apart."""


def fetch_table(identifier: str) -> RawTable:
    """Return a dataset of OpenML, from the local cache or else by download.

    The files are kept in scikit-learn's data folder (``SCIKIT_LEARN_DATA``, by default
    ``~/scikit_learn_data``), so that a dataset is downloaded once.

    Parameters
    ----------
    identifier : str
        A number, which stands for one version of one dataset, or a name, which stands for
        its oldest active version.

    Returns
    -------
    RawTable
        Types and default target as OpenML states them; the provenance gives the number.

    Raises
    ------
    UnknownNameError
        If OpenML has no such dataset.
    DataError
        If openml.org cannot be reached, or the download is not a table.
    """
    identifier = identifier.strip()
    if not identifier:
        raise UnknownNameError("openml: needs a number or a name, such as openml:31.")
    key = {"data_id": int(identifier)} if identifier.isdecimal() else {"name": identifier}
    try:
        with warnings.catch_warnings():
            # scikit-learn announces every retry; the error below says it once.
            warnings.filterwarnings("ignore", message="A network error occurred")
            bunch = fetch_openml(**key, as_frame=True, n_retries=N_RETRIES)
    except (URLError, TimeoutError, ConnectionError) as error:
        raise DataError(
            f"openml:{identifier} is not in the cache ({get_data_home()}) and openml.org cannot be "
            f"reached: {error}. Connect once to download it, or give a file."
        ) from error
    except ValueError as error:
        if "not found" in str(error) or "No active dataset" in str(error):
            raise UnknownNameError(
                f"OpenML has no dataset {identifier!r}. Look up its number at openml.org and "
                "give openml:<number>."
            ) from error
        raise DataError(f"openml:{identifier} cannot be read: {error}") from error
    return _as_table(bunch, identifier)


def _as_table(bunch: Bunch, identifier: str) -> RawTable:
    """Return what scikit-learn fetched as a table."""
    details = bunch.details
    frame = bunch.frame.reset_index(drop=True)
    frame.columns = check_columns(list(frame.columns), f"openml:{identifier}")
    if frame.empty:
        raise DataError(f"openml:{identifier} has no rows.")
    targets = list(bunch.target_names or [])
    provenance = (
        f"OpenML {details['id']}: {details['name']}, version {details['version']}; "
        f"licence {details.get('licence', 'not stated')}"
    )
    return RawTable(frame, provenance, targets[0] if len(targets) == 1 else None, typed=True)
