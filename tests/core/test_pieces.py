import orjson
import pytest

from service.core.pieces import Pieces, encode_event


@pytest.mark.parametrize("body", ["x", "", None])
def test_an_event_is_encoded_as_it_is(body: str | None) -> None:
    event = {"event": "result", "body": body, "attempts": 1}

    assert encode_event(event) == orjson.dumps(event)
    assert encode_event({"event": "done"}) == b'{"event":"done"}'


@pytest.mark.parametrize("pieces", [(b'"', b"one ", b"two", b'"'), (b'""',), (b'"', b'\\"body\\":', b'"')])
def test_a_body_in_pieces_stands_where_a_whole_one_would(pieces: tuple[bytes, ...]) -> None:
    event = {"event": "result", "url": 'http://x/,"body":', "body": Pieces(*pieces), "attempts": 1, "cache": "hit"}

    whole = orjson.dumps({**event, "body": orjson.loads(b"".join(pieces))})
    encoded = encode_event(event)
    assert isinstance(encoded, Pieces)
    assert (bytes(encoded), len(encoded)) == (whole, len(whole))
