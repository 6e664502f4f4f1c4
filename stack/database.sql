-- What a desk's database needs before its first migration, connected to that database, by a
-- superuser (the extension asks for one). May be run again at any time.
create extension if not exists vector;

do $$
begin
    execute format('revoke all on database %I from public', current_database());
    execute format(
        'grant connect, temporary on database %I to holdfast_app, holdfast_relay',
        current_database()
    );
    execute format('grant all on database %I to holdfast_owner', current_database());
end
$$;

revoke all on schema public from public;
grant usage, create on schema public to holdfast_owner, holdfast_lookup;
grant usage on schema public to holdfast_app, holdfast_relay;
