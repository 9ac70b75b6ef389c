"""Who a caller is: from the peer credentials of its connection to the tenant that is billed, by key and display name.

A tenant has a *key*, a tag and a name, such as ``uid:1001`` or ``account:physics``. The state and the journal have keys
only. Tags: ``uid`` for a user of the operating system, by number; ``account`` for a name that is no such user, such as
a cost centre to which an administrator transfers leases.
"""

from __future__ import annotations

from .tenants import TenantNames, key_of_uid, with_display_name

__all__ = ["TenantNames", "key_of_uid", "with_display_name"]
