#!/bin/sh
# Runs one engine, and ends it when no agent has touched the lease file for a minute: an engine outlives a crash of its agent, but
# not for ever. Usage: engine-guard.sh LEASE SECONDS_BETWEEN_LOOKS COMMAND [ARGUMENT…]
lease=$1
seconds=$2
shift 2

"$@" &
engine=$!

(
  missed=0
  # Two looks in a row: after the machine slept, the agent gets its chance to touch the file first.
  while [ "$missed" -lt 2 ]; do
    sleep "$seconds"
    kill -0 "$engine" 2>/dev/null || exit
    if [ -n "$(find "$lease" -mmin -1 2>/dev/null)" ]; then missed=0; else missed=$((missed + 1)); fi
  done
  echo 'engine-guard: no agent for a minute; the engine ends' >&2
  kill -TERM "$engine"
  sleep 10
  kill -KILL "$engine"
) &
watch=$!

# The agent signals the whole group, so the engine has heard it too; the guard stays until the engine has ended. The trap comes
# after the watch was forked, which must not inherit it.
trap : TERM INT
wait "$engine"
code=$?
while kill -0 "$engine" 2>/dev/null; do
  wait "$engine"
  code=$?
done
kill "$watch" 2>/dev/null
exit "$code"
