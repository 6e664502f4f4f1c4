#!/bin/sh
# The namespace that the desk's workflows live in. The port opens before the server can answer.
set -eu
tries=0
until temporal operator cluster health >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || { echo "Temporal at $TEMPORAL_ADDRESS does not answer." >&2; exit 1; }
    sleep 2
done
temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"
