"""Tables, as the engine has them."""

from __future__ import annotations

from holdall_store.tables import Table, col

__all__ = ["Table", "col"]
