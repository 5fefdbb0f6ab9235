"""Summary tables of runs that nobody made."""

import numpy as np
import pandas as pd


def summary(points, replications=1, arms=("base",), **outputs):
    """Rows in the plan's order: point, arm, replication; `outputs` are functions of (point's row, arm, replication)."""
    rows = []
    for at, point in enumerate(points.to_dict("records")):
        for arm in arms:
            for replication in range(replications):
                said = {"run_id": f"{at}-{arm}-{replication}", "point": at, "arm": arm, "replication": replication, "seed": replication}
                told = {name: float(output(point, arm, replication)) for name, output in outputs.items()}
                rows.append({**said, **point, "status": "complete", "error": "", **told})
    return pd.DataFrame(rows)


def one_point(values, arm="base", name="loss"):
    """Replications of a single point."""
    values = np.asarray(values, dtype=float)
    return summary(pd.DataFrame({"fund": [1.0]}), len(values), (arm,), **{name: lambda _point, _arm, replication: values[replication]})


def broken(table, run_id, output="loss"):
    """The table after one run has failed."""
    out = table.copy()
    out.loc[out["run_id"] == run_id, ["status", "error", output]] = ["failed", "step 3: a law does not hold", np.nan]
    return out
