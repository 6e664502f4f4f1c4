#!/bin/bash
# Roles with their passwords, the database, what it needs before its first migration.
# May be run again at any time: that is also how a password is changed.
set -euo pipefail
here=$(dirname "$0")
sql=${SQL_FOLDER:-$here}

psql_() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@"; }

psql_ --dbname postgres --file "$sql/roles.sql"

# From the environment into psql's own variables: arguments could be read by others, and a
# statement that fails must not put a password into the server's log.
psql_ --dbname postgres <<'SQL'
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
\getenv relay_password RELAY_PASSWORD
set log_min_error_statement = panic;
set log_statement = none;
set log_min_duration_statement = -1;
set password_encryption = 'scram-sha-256';
alter role holdfast_owner password :'owner_password';
alter role holdfast_app password :'app_password';
alter role holdfast_relay password :'relay_password';
select 'create database holdfast owner holdfast_owner'
    where not exists (select from pg_database where datname = 'holdfast') \gexec
SQL

psql_ --dbname holdfast --file "$sql/database.sql"
