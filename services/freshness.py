"""Tenants whose people this process changed a moment ago: what it remembers of them may be old."""

import uuid

from cachetools import TTLCache

# Longer than a credential is remembered (services/auth/base.py): by the time this is forgotten,
# whatever was remembered from before the change is forgotten, too.
SECONDS = 8.0

_changed: TTLCache[uuid.UUID, bool] = TTLCache(50_000, SECONDS)


def changed(tenant_id: uuid.UUID) -> None:
    """Somebody's session, token, role or team is about to be another one.

    Said before the commit: until a moment after it, who a caller is is asked at every request.
    """
    _changed[tenant_id] = True


def changed_lately(tenant_id: uuid.UUID) -> bool:
    """Whether what was remembered about the tenant's people has to be asked for anew."""
    return tenant_id in _changed
