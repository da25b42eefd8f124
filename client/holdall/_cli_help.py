"""The help of the command line: what each command means, and examples."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALIAS",
    "CAT",
    "CP",
    "DOCTOR",
    "DU",
    "EPILOG",
    "EXEC",
    "GC",
    "GET",
    "GRAPH",
    "LS",
    "MAIN_EXAMPLES",
    "PROMOTE",
    "PUT",
    "RM",
    "RUNS",
    "SHOW",
    "SYNC",
    "TABLE",
    "TAG",
]

EPILOG: Final = """\
references:
  [namespace/]flow[/artifact][:alias|@run], such as churn, churn/model, churn/model:champion,
  churn@20261123T081402 (the beginning of a run's id will do), user:ana/churn/model.
  Without a selector, an artifact is that of the newest successful run that holds it.

exit codes:
  0  done, even if there was nothing to list      2  the command, a name or a setting makes no sense
  1  it failed                                    3  no such store, namespace, flow, run, artifact, alias,
                                                     object or file

Set HOLDALL_DEBUG=1 to see where an error comes from.
"""

MAIN_EXAMPLES: Final = """
examples:
  holdall ls                                what there is
  holdall ls churn                          the runs of a flow, newest first
  holdall runs churn --where "metrics.auc > 0.9"  those that match
  holdall show churn:champion               one run: who, when, parameters, metrics, artifacts
  holdall get churn/train -o train.parquet  a frame as a file
  holdall put report.html churn/report      a file as an artifact
  holdall cat churn/report | less           the bytes of a file
  holdall cp -r plots s3://bucket/plots/    a folder into a bucket; cp, sync, ls, cat and du take s3:// URLs
  holdall table head events.parquet         the first rows; table schema, count, stats and explain, of s3:// too
  holdall doctor                            what is wrong, and the way out
"""

LS: Final = """
columns:
  Aligned with two spaces or more; on a terminal, long ones are cut to its width. Through a pipe nothing is cut or
  coloured. Times are local. For programs there are --json and -q.

examples:
  holdall ls                        the flows of your namespace
  holdall ls --all-namespaces       those of everybody
  holdall ls production:churn       those of another namespace
  holdall ls churn --tag nightly    the runs that carry a tag
  holdall ls churn@20261123T0814    the artifacts of a run
  holdall ls churn/model            an artifact in every run that holds it
  holdall ls s3://bucket/logs/      one level of a bucket; -r for all below, s3://bucket/logs/2026-* for a pattern
  holdall ls churn --json | jq -r '.[] | select(.status == "failed") | .reference'
"""

SHOW: Final = """
examples:
  holdall show churn                a flow: its newest runs and its aliases
  holdall show churn:latest         the newest successful run
  holdall show churn@20261123T0814  one run, with its traceback if it failed
  holdall show churn/model          one artifact, and the line that loads it
"""

GRAPH: Final = """
examples:
  holdall graph churn                      the newest run of a flow, as text
  holdall graph churn@20261123T0814        one run
  holdall graph churn --svg > churn.svg    a drawing
  holdall graph churn --json               steps, parents, tasks and status, for programs
"""

EXEC: Final = """
The command, and all that it starts, finds the run in HOLDALL_RUN: holdall.join() in Python. The run has failed if the command
fails; the exit code is that of the command. Options stand before the flow.

examples:
  holdall exec churn -- python train.py
  holdall exec --tag nightly --param lr=0.1 churn -- sh -c 'for i in 1 2 3; do python task.py $i; done'
"""

RUNS: Final = """
filters:
  metrics.NAME, params.NAME, tags, artifacts, status, started, finished, duration, user, host, git.commit, git.branch,
  git.dirty, exception, run, namespace; ==, !=, <, <=, >, >=, in, not in, and, or, not, parentheses. What a run does not
  have matches nothing.

examples:
  holdall runs churn --where "metrics.auc > 0.9 and params.lr < 0.1"
  holdall runs churn --since 7d --status failed
  holdall runs churn --tag nightly --since 2026-11-01 --until 2026-12-01 --json | jq -r '.[].reference'
  holdall runs churn --where "'model' in artifacts and duration > '2h'" -q | xargs holdall tag --add long
"""

ALIAS: Final = """
examples:
  holdall alias churn                                  the aliases of a flow
  holdall alias churn@20261123T0814 champion --note "passed the shadow test"
  holdall alias churn:champion --history               who, when, from, to, why
  holdall alias churn:champion --rollback --note slow  what it meant before
  holdall alias churn:champion --remove
"""

TAG: Final = """
examples:
  holdall tag churn@20261123T0814 --add good --remove nightly
  holdall tag churn:champion                           what it carries
  holdall runs churn --where "metrics.auc > 0.9" -q | xargs holdall tag --add good
"""

PROMOTE: Final = """
examples:
  holdall promote churn@20261123T0814 production:churn --alias champion --note "auc 0.91 on the holdout"
"""

RM: Final = """
What is deleted is gone at once for whoever looks for it; its bytes go with the next collection. What an alias points at,
or is kept, is refused.

examples:
  holdall rm churn@20261123T0814 --yes                 a run
  holdall rm churn/report@20261123T0814                an artifact; asks
  holdall rm trials --yes --note over                  all runs of a flow
  holdall rm --undo churn@20261123T081402              back again
"""

GC: Final = """
Packs that nothing refers to are deleted; of packs of which little is referred to, that is copied elsewhere first. It is
safe beside saves and other collections, and what was interrupted is finished by the next one. Without --yes nothing is done.

examples:
  holdall gc                      what would be given back
  holdall gc --yes                do it
  holdall gc --json               for programs
"""

GET: Final = """
formats:
  Files and directories are written as they were saved. Tables (pandas, Arrow, polars) become .parquet, .csv or
  .feather; arrays .npy; text and bytes are written raw; numbers, lists, dicts and the like become .json. The suffix
  of PATH chooses; without -o, or with -o -, it is the first that fits. Any object is written as a pickle to a PATH that
  ends in .pkl. A PATH that ends in a slash, or is a folder, is where the file goes under its own name.

examples:
  holdall get churn/report -o report.html
  holdall get churn/train -o train.csv
  holdall get user:ana/churn/model:champion -o model.pkl --trust
  holdall get churn/plots -o old/
  holdall get churn/train -o - | wc -c
"""

PUT: Final = """
Each call is one run of the flow. A lone name is the flow, and the artifact is called as the file is:
'holdall put a.txt f' saves f/a.txt. (In Python, save_file('a.txt', 'f') saves f in the flow of the script.)

examples:
  holdall put report.html churn/report
  holdall put plots churn --tag nightly
  pg_dump shop | holdall put - backup/shop.sql
"""

CAT: Final = """
examples:
  holdall cat churn/report > report.html
  holdall cat churn/settings | jq .depth
  holdall cat s3://bucket/log.txt --range -1000
  holdall cat backup/shop.sql:before-migration | psql shop
"""

CP: Final = """
SRC and DST:
  s3://bucket/key   an object; with a slash at the end, a folder. * is any part of a name, ** also of several
  a path            what is there; what is not there begins with ./ or / where it could be a reference
  flow/artifact     an artifact: as SRC it is written as 'holdall get' does, as DST it is saved as 'holdall put' does
  -                 standard input or output

What is there is replaced, in one step each; --if-absent leaves it alone. With -r, what is in the folder SRC goes into
the folder DST. Each line says what was done; with several SRC, DST ends with a slash or is a folder that is there.

examples:
  holdall cp report.html s3://bucket/reports/
  holdall cp -r s3://bucket/images images
  holdall cp 's3://bucket/logs/**/*.gz' logs/
  holdall cp s3://bucket/a.csv s3://other/a.csv
  pg_dump shop | holdall cp - s3://bucket/shop.sql
  holdall cp churn/train:champion s3://bucket/train.parquet
  holdall cp report.html churn/report
"""

SYNC: Final = """
Copied is what DST has not, what differs in size, and what was modified later in SRC. Nothing else is sent: where files
of the same size may have an older time and another content, --checksum compares contents.

examples:
  holdall sync images s3://bucket/images
  holdall sync s3://bucket/images images --delete --dry-run
  holdall sync s3://bucket/images s3://other/images
"""

DU: Final = """
Of S3, all objects below a URL (or that match a pattern). Of a store, the artifacts of a flow, a run, or all versions of
an artifact; NEW is what they added to the packs of the store when they were saved.

examples:
  holdall du s3://bucket/images s3://bucket/logs
  holdall du churn
  holdall du --all-namespaces
"""

TABLE: Final = """
views:
  schema    the columns and their types        stats    least, greatest and nulls of each column, from footers
  head      the first rows                     explain  files, requests and bytes that reading takes
  count     the number of rows

conditions:
  COLUMN OP VALUE with = != < <= > >=, such as 'x > 3' or 'day = 2026-11-01'; 'country in US, CA', 'country not in US',
  'name starts with A', 'x is null', 'x is not null'. A VALUE with spaces at its ends, or commas in a list, is 'quoted';
  a COLUMN with spaces is "quoted". Dots lead into structs.

examples:
  holdall table schema s3://lake/events
  holdall table head events --where 'amount > 100' --where 'day = 2026-11-01' --select user,amount
  holdall table count 's3://lake/events/**/*.parquet' --where 'country in US, CA'
  holdall table stats events.parquet --json | jq '.[] | select(.null_count > 0)'
  holdall table head churn/train:champion
"""

DOCTOR: Final = """
Every line says ok, warn or fail, and the way out. The exit code is 1 if anything failed.

examples:
  holdall doctor
  holdall doctor --store /mnt/team/store
  holdall doctor --json
"""
