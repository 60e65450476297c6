#!/bin/sh
# Starts a job script in the background, in a session of its own, and prints the job's name: a folder in _build/cluster.
set -eu
mkdir -p _build/cluster
job=$(mktemp -d _build/cluster/XXXXXX)
$(command -v setsid || true) sh -c '
    echo $$ > "$1/pid"
    code=0
    sh "$2" || code=$?
    echo $code > "$1/code.part"
    mv "$1/code.part" "$1/code"
' job "$job" "$1" > "$job/output" 2>&1 < /dev/null &
echo "$job"
