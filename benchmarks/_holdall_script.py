"""What `_metaflow_flow` does, as a plain script: make a model, save it and a result in one run."""

from __future__ import annotations

import json
import os
import sys

from _models import change_one, make_model  # type: ignore[import-not-found,unused-ignore]

store, mebibytes, version, keep = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
model = make_model(mebibytes)
if version > 1:
    change_one(model, 31, seed=version)
if keep != 2:  # 2: not even a run
    import holdall

    with holdall.run("ModelFlow", params={"version": version}, client=holdall.Client(store)) as run:
        if keep:
            run.save(model=model)
        run.save(result=json.dumps({"version": version, "process": os.getpid()}))
