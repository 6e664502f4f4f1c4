#!/bin/sh
# Temporal's two databases, at the schema this version of its tools brings. May be run again.
set -eu
for database in temporal visibility; do
    name=temporal
    [ "$database" = visibility ] && name=temporal_visibility
    temporal-sql-tool --db "$name" create
    temporal-sql-tool --db "$name" setup-schema -v 0.0
    temporal-sql-tool --db "$name" update-schema -d "/etc/temporal/schema/postgresql/v12/$database/versioned"
done
