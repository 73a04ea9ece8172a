"""What every store of watches does, and a fake store."""

from service.core.ports import KeptWatch, WatchStore

__all__ = ["FIRST", "SECOND", "Kept", "WatchStoreContract"]

FIRST = KeptWatch("200 a", {"If-None-Match": '"a"'})
SECOND = KeptWatch("200 b", {"If-None-Match": '"b"', "If-Modified-Since": "Fri, 27 Nov 2026 06:00:00 GMT"})


class Kept(dict[str, KeptWatch]):
    """Keeps watches."""

    def put(self, name: str, watch: KeptWatch) -> None:
        self[name] = KeptWatch(watch.state, dict(watch.conditions))

    def delete(self, name: str) -> None:
        self.pop(name, None)


class WatchStoreContract:
    """Subclasses have a fixture ``store``."""

    def test_what_was_put_last_is_there_at_once(self, store: WatchStore) -> None:
        assert store.get("watch:a") is None
        store.put("watch:a", FIRST)
        store.put("watch:b", FIRST)
        store.put("watch:a", SECOND)
        assert (store.get("watch:a"), store.get("watch:b")) == (SECOND, FIRST)

    def test_what_is_deleted_is_gone_and_may_come_again(self, store: WatchStore) -> None:
        store.put("watch:a", FIRST)
        store.delete("watch:a")
        store.delete("watch:a")
        assert store.get("watch:a") is None
        store.put("watch:a", SECOND)
        assert store.get("watch:a") == SECOND

    def test_a_later_change_of_what_was_put_is_not_kept(self, store: WatchStore) -> None:
        conditions = {"If-None-Match": '"a"'}
        store.put("watch:a", KeptWatch("200 a", conditions))
        conditions.clear()
        kept = store.get("watch:a")
        assert kept is not None
        assert dict(kept.conditions) == {"If-None-Match": '"a"'}
