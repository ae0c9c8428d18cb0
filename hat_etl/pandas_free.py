"""pyarrow without pandas, which it would import with the first value that it takes from Python: more than a second.

Only what nobody asks for is lost: pyarrow no longer tells pandas' objects from others by itself. What is asked for by
name, as ``Table.to_pandas``, still imports pandas.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class _NoPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ImportError
        return None


def _look_in_vain() -> None:
    """Have pyarrow look for pandas, as it does once in each process, while there is none to be found."""
    if "pandas" in sys.modules:
        return  # paid for already, and somebody may want it
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(finder)


_look_in_vain()
