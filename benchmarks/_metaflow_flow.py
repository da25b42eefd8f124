"""The flow that is measured: two steps, one model. Run by metaflow's interpreter, never imported by holdall's."""

from __future__ import annotations

import json
import os

from metaflow import FlowSpec, Parameter, step  # type: ignore[import-not-found,unused-ignore]


class ModelFlow(FlowSpec):  # type: ignore[misc,unused-ignore]
    """Make a model in the first step, end in the second."""

    mebibytes = Parameter("mebibytes", type=int, default=8)
    version = Parameter("version", type=int, default=1)
    keep = Parameter("keep", type=int, default=1)

    @step  # type: ignore[untyped-decorator,unused-ignore]
    def start(self) -> None:
        """Make the model; what is an attribute of self is an artifact."""
        from _models import change_one, make_model  # type: ignore[import-not-found,unused-ignore]

        model = make_model(self.mebibytes)
        if self.version > 1:
            change_one(model, 31, seed=self.version)
        if self.keep:
            self.model = model
        self.next(self.end)

    @step  # type: ignore[untyped-decorator,unused-ignore]
    def end(self) -> None:
        """Leave a result."""
        self.result = json.dumps({"version": self.version, "process": os.getpid()})


if __name__ == "__main__":
    ModelFlow()
