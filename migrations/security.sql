-- Who may touch what. Runs once, as holdfast_owner, after the tables exist.
-- Roles (made outside, see docs/operations.md): holdfast_app serves requests under row-level
-- security; holdfast_relay reads across tenants what has to be told to other systems;
-- holdfast_lookup cannot log in and owns the few functions that run before a tenant is known.

grant usage on schema public to holdfast_app, holdfast_relay, holdfast_lookup;

do $$
declare
    name text;
    mine constant text := 'tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid';
begin
    for name in
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relkind = 'r' and c.relname <> 'alembic_version'
    loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        if name = 'tenants' then
            execute format(
                'create policy own on tenants to holdfast_app using (%1$s) with check (%1$s)',
                replace(mine, 'tenant_id', 'id'));
        else
            execute format(
                'create policy own on %I to holdfast_app using (%s) with check (%s)', name, mine, mine);
        end if;
        execute format('grant select, insert on %I to holdfast_app', name);
    end loop;
    foreach name in array array[
        'users', 'teams', 'login_sessions', 'api_tokens', 'password_links', 'organizations',
        'customers', 'customer_identities', 'statuses', 'field_definitions', 'tickets',
        'attachments', 'calendars', 'policies', 'clocks', 'deliveries', 'bulk_jobs', 'bulk_items',
        'notifications', 'files'
    ] loop
        execute format('grant update on %I to holdfast_app', name);
    end loop;
    foreach name in array array[
        'team_members', 'relations', 'watchers', 'customer_identities', 'idempotency_keys',
        'attachments', 'password_links', 'clocks', 'organizations', 'customers'
    ] loop
        execute format('grant delete on %I to holdfast_app', name);
    end loop;
end $$;

-- A tenant is made by holdfast_create_tenant only; events and sealed entries are never rewritten.
revoke insert on tenants from holdfast_app;
grant update (name, settings, config_version, rate_class) on tenants to holdfast_app;
grant update (ticket_id) on messages to holdfast_app;
grant update (position, hash) on audit_entries to holdfast_app;
grant update (lead) on team_members to holdfast_app;

-- The relay.
grant select, update, delete on outbox to holdfast_relay;
create policy relay on outbox to holdfast_relay using (true) with check (true);
grant insert on outbox to holdfast_relay;
grant select on tenants, tickets, bulk_jobs to holdfast_relay;
create policy relay on bulk_jobs for select to holdfast_relay using (true);
create policy relay on tenants for select to holdfast_relay using (true);
create policy relay on tickets for select to holdfast_relay using (true);
grant select (tenant_id, position, at) on audit_entries to holdfast_relay;
create policy relay on audit_entries for select to holdfast_relay using (true);
grant select, delete on idempotency_keys to holdfast_relay;
create policy relay on idempotency_keys to holdfast_relay using (true);

-- Before a tenant is known.
grant select on tenants, users, api_tokens, login_sessions, password_links to holdfast_lookup;
grant insert on tenants to holdfast_lookup;
create policy lookup on tenants to holdfast_lookup using (true) with check (true);
create policy lookup on users for select to holdfast_lookup using (true);
create policy lookup on api_tokens for select to holdfast_lookup using (true);
create policy lookup on login_sessions for select to holdfast_lookup using (true);
create policy lookup on password_links for select to holdfast_lookup using (true);

create schema numbers authorization holdfast_owner;
grant usage on schema numbers to holdfast_app;
grant usage, create on schema numbers to holdfast_lookup;

create function holdfast_tenant(wanted text) returns uuid
    language sql stable security definer set search_path = public
    as $$ select id from tenants where slug = wanted $$;

-- Every account with that address; the caller checks the password against each tenant named.
create function holdfast_login(address text, wanted_slug text)
    returns table (tenant_id uuid, slug text, user_id uuid, password_hash text, active boolean)
    language sql stable security definer set search_path = public
    as $$
        select u.tenant_id, t.slug, u.id, u.password_hash, u.active
        from users u join tenants t on t.id = u.tenant_id
        where u.email = lower(address) and (wanted_slug is null or t.slug = wanted_slug)
        order by t.slug limit 10
    $$;

create function holdfast_token(wanted bytea) returns table (tenant_id uuid, token_id uuid)
    language sql stable security definer set search_path = public
    as $$ select a.tenant_id, a.id from api_tokens a where a.token_hash = wanted $$;

create function holdfast_session(wanted bytea)
    returns table (tenant_id uuid, session_id uuid, stale boolean)
    language sql stable security definer set search_path = public
    as $$
        select s.tenant_id, s.id, s.previous_hash = wanted
        from login_sessions s where s.refresh_hash = wanted or s.previous_hash = wanted
    $$;

-- Row-level security keeps a role from indexes whose operators are not leakproof: text search and
-- containment would read every row of the table. These may use them, and name the tenant themselves.
grant select on tickets, messages to holdfast_lookup;
create policy lookup on tickets for select to holdfast_lookup using (true);
create policy lookup on messages for select to holdfast_lookup using (true);

-- Tickets in whose subject or messages the words are: those with the newest ids, `most` of each.
create function holdfast_matching(wanted tsquery, internal boolean, most integer)
    returns setof uuid
    language sql stable security definer set search_path = public
    as $$
        (select t.id from tickets t
            where t.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid
            and to_tsvector('simple', t.subject) @@ wanted order by t.id desc limit most)
        union
        (select m.ticket_id from messages m
            where m.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid
            and to_tsvector('simple', left(m.body_text, 100000)) @@ wanted
            and (internal or m.visibility = 'public')
            order by m.id desc limit most)
    $$;

-- At most `most` tickets with these field values, else with all, else with any of these tags: the
-- first of the conditions that is given. The caller's query checks all of them.
create function holdfast_marked(all_of text[], any_of text[], wanted jsonb, most integer)
    returns setof uuid language plpgsql stable security definer set search_path = public
    as $$
    declare
        mine constant uuid := nullif(current_setting('app.tenant', true), '')::uuid;
    begin
        if wanted is not null then
            return query select t.id from tickets t
                where t.tenant_id = mine and t.fields @> wanted limit most;
        elsif all_of is not null then
            return query select t.id from tickets t
                where t.tenant_id = mine and t.tags @> all_of limit most;
        else
            return query select t.id from tickets t
                where t.tenant_id = mine and t.tags && any_of limit most;
        end if;
    end $$;

create function holdfast_create_tenant(
    new_id uuid, new_slug text, new_name text, new_rate_class text, at timestamptz)
    returns void language plpgsql security definer set search_path = public
    as $$
    declare
        counter constant text := 't_' || replace(new_id::text, '-', '');
    begin
        insert into tenants (id, slug, name, rate_class, created_at)
            values (new_id, new_slug, new_name, new_rate_class, at);
        execute format('create sequence numbers.%I as bigint cache 1', counter);
        execute format('grant usage on sequence numbers.%I to holdfast_app', counter);
    end $$;

do $$
declare
    name text;
begin
    foreach name in array array[
        'holdfast_tenant(text)', 'holdfast_login(text, text)', 'holdfast_token(bytea)',
        'holdfast_session(bytea)', 'holdfast_create_tenant(uuid, text, text, text, timestamptz)',
        'holdfast_matching(tsquery, boolean, integer)', 'holdfast_marked(text[], text[], jsonb, integer)'
    ] loop
        execute format('alter function %s owner to holdfast_lookup', name);
        execute format('revoke all on function %s from public', name);
        execute format('grant execute on function %s to holdfast_app', name);
    end loop;
end $$;
