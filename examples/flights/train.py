"""Train a model that tells before departure whether a flight will arrive late, and keep everything in one run."""

from __future__ import annotations

import argparse

from flights_data import SCHEDULE, WEATHER, read_flights
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import holdall

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--trees", type=int, default=40)
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--weather", action="store_true", help="learn from the weather too")
params = vars(parser.parse_args())

with holdall.run("flights", params=params, tags=["demo"]) as run:
    features = [*SCHEDULE, *(WEATHER if params["weather"] else [])]
    flights = read_flights()
    train, test = (flights.loc[rows, [*features, "late"]] for rows in (flights["month"] <= 10, flights["month"] > 10))

    model = HistGradientBoostingClassifier(
        max_iter=params["trees"],
        learning_rate=params["learning_rate"],
        categorical_features="from_dtype",
        early_stopping=False,
        random_state=13,
    )
    model.fit(train[features], train["late"])

    test = test.assign(risk=model.predict_proba(test[features])[:, 1])
    for month, rows in test.groupby("month"):
        run.log(monthly_auc=roc_auc_score(rows["late"], rows["risk"]), step=month)
    auc = roc_auc_score(test["late"], test["risk"])
    run.log(auc=auc)

    run.save(model=model, train=train)

print(f"run {run.id}: learnt from {len(train):,} flights; AUC {auc:.3f} on the {len(test):,} of the last two months")
