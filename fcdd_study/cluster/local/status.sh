#!/bin/sh
# Prints what has become of a job that submit.sh started: running, success or failed.
if [ -f "$1/code" ]; then
    [ "$(cat "$1/code")" = 0 ] && echo success || echo failed
elif [ ! -f "$1/pid" ] || kill -0 "$(cat "$1/pid")" 2> /dev/null; then
    echo running
else
    [ -f "$1/code" ] && sh "$0" "$1" || echo failed # ended just now, or killed
fi
