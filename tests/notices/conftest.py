from tests.store.conftest import migrated, sqlite_file, store, url

__all__ = ["migrated", "sqlite_file", "store", "url"]
