"""The store: ClickHouse's tables and views, on a server or embedded."""

from driftline.store.client import Address, Store

__all__ = ["Address", "Store"]
