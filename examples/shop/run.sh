#!/bin/sh
# A shop on three nodes: `sh examples/shop/run.sh`. The data lies in a temporary directory, which is gone at the end.

set -eu
cd "$(dirname "$0")"
CONFLUX_DATA_DIR=$(mktemp -d)
export CONFLUX_DATA_DIR CONFLUX_CLUSTER=shop
trap 'conflux stop >/dev/null; rm -rf "$CONFLUX_DATA_DIR"' EXIT

conflux start --cluster-size 3 --app shop:app --detach
conflux perform stock tea 1
conflux perform buy tea
conflux perform buy tea || echo "that ended with status $?"
conflux state
