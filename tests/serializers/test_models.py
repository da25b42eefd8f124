"""Models of the usual libraries, saved and loaded as users do: through the face, in another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdall

ROWS, COLUMNS = 300, 5


@pytest.fixture
def data() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return features and labels that a small model can learn."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((ROWS, COLUMNS))
    return features, (features[:, 0] + features[:, 1] > 0).astype(int)


def fit(name: str, features: Any, labels: Any) -> Any:
    """Return a small fitted model of the named kind; skip where its library is missing."""
    if name == "xgboost":
        library = pytest.importorskip("xgboost", reason="xgboost is not installed")
        return library.XGBClassifier(n_estimators=5, max_depth=3).fit(features, labels)
    if name == "lightgbm":
        library = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
        return library.LGBMClassifier(n_estimators=5, verbose=-1).fit(features, labels)
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "forest":
        return RandomForestClassifier(n_estimators=5, random_state=0).fit(features, labels)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels)


@pytest.mark.parametrize("name", ["forest", "pipeline", "xgboost", "lightgbm"])
def test_a_model_predicts_the_same_after_loading(name: str, data: tuple[Any, Any], tmp_path: Path) -> None:
    """A fitted model predicts the same to the last bit once it was saved and loaded, and its library is recorded."""
    features, labels = data
    model = fit(name, features, labels)
    client = holdall.Client(tmp_path / "store")
    artifact = holdall.save(model, "models/model", client=client)
    loaded = holdall.load("models/model", client=client)
    assert type(loaded) is type(model)
    assert np.array_equal(loaded.predict_proba(features), model.predict_proba(features))
    assert {"forest": "sklearn", "pipeline": "sklearn"}.get(name, name) in artifact.libraries
    assert artifact.runs_code


@pytest.mark.parametrize("name", ["forest", "xgboost", "lightgbm"])
def test_a_model_loads_in_another_process(name: str, data: tuple[Any, Any], tmp_path: Path) -> None:
    """A process that never imported the library loads the model and gets the same predictions."""
    features, labels = data
    model = fit(name, features, labels)
    client = holdall.Client(tmp_path / "store")
    holdall.save({"model": model, "features": features}, "models/bundle", client=client)
    script = (
        "import sys, holdall\n"
        "bundle = holdall.load('models/bundle', client=holdall.Client(sys.argv[1]))\n"
        "print(bundle['model'].predict_proba(bundle['features']).tobytes().hex())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == model.predict_proba(features).tobytes().hex()


def test_the_large_arrays_of_a_model_are_shared_between_versions(data: tuple[Any, Any], tmp_path: Path) -> None:
    """A model saved again with one small change adds little: its large arrays lie in the store already."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(1)
    features = rng.standard_normal((40_000, 8))
    labels = (features[:, 0] > 0).astype(int)
    model = KNeighborsClassifier(algorithm="brute").fit(features, labels)
    client = holdall.Client(tmp_path / "store")
    first = holdall.save(model, "models/neighbours", client=client)
    model.n_neighbors = 7
    second = holdall.save(model, "models/neighbours", client=client)
    assert first.stored > features.nbytes
    assert second.stored < features.nbytes / 20
    assert holdall.load("models/neighbours", client=client).n_neighbors == 7
