-- The roles of a desk, once per Postgres server (16 or later), by a superuser or whoever may
-- create roles. May be run again at any time. For a server of your own, afterwards:
--   alter role holdfast_owner password '…';  the same for holdfast_app and holdfast_relay
--   create database holdfast owner holdfast_owner;
--   and database.sql, connected to that database.
--
-- holdfast_owner   owns the tables, runs migrations             MIGRATION_DATABASE_URL
-- holdfast_app     what requests and activities run as          DATABASE_URL
-- holdfast_relay   reads the outbox of all tenants              RELAY_DATABASE_URL
-- holdfast_lookup  owns the few functions that run before a tenant is known; nobody logs in as it
do $$
declare
    name text;
begin
    foreach name in array array['holdfast_owner', 'holdfast_app', 'holdfast_relay'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I login', name);
        end if;
    end loop;
    if not exists (select from pg_roles where rolname = 'holdfast_lookup') then
        create role holdfast_lookup nologin;
    end if;
end
$$;

-- So that a migration can hand a function over to it.
grant holdfast_lookup to holdfast_owner with set true;
