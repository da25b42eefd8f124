"""Load last run's model in another process, and ask it about four flights."""

from __future__ import annotations

import pandas as pd
from flights_data import read_flights

import holdall

model = holdall.load("flights/model")

flights = read_flights()
asked = flights[(flights["month"] == 12) & (flights["day"] == 23) & (flights["dest"] == "SFO")].iloc[::9].head(4)
answers = pd.DataFrame(
    {
        "departs": [f"{time // 100:02}:{time % 100:02}" for time in asked["sched_dep_time"]],
        "carrier": asked["carrier"],
        "from": asked["origin"],
        "risk": model.predict_proba(asked[model.feature_names_in_])[:, 1].round(2),
        "was late": asked["late"],
    }
)
print("To San Francisco on 23 December 2013:")
print(answers.to_string(index=False))
