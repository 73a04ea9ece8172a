"""What bytes mean: every label, every byte and every pair of bytes, beside Chromium's reading of them."""

from collections.abc import Iterator

from service.upstream.content.encodings import decode, encoding_of
from service.upstream.content.labels import LABELS
from tests.end_to_end.chromium import chromium

PAIRS = {"big5", "euc-jp", "euc-kr", "gb18030", "gbk", "shift_jis"}
SINGLE = sorted(set(LABELS.values()) - PAIRS - {"iso-2022-jp", "replacement", "utf-8", "utf-16le", "utf-16be"})
READ = """(() => {
  const bytes = [];
  for (let a = %d; a <= %d; a++) for (let b = %d; b <= %d; b++) bytes.push(...%s, a, b, ...%s, 10);
  return new TextDecoder("%s").decode(Uint8Array.from(bytes)).split("\\n").map(
    (line) => Array.from(line).map((character) => character.codePointAt(0).toString(16)).join(" "));
})()"""


async def test_every_label_byte_and_pair_is_read_as_chromium_reads_it() -> None:
    async with chromium("about:blank") as page:
        named = await page.evaluate(
            f"Object.fromEntries({sorted(LABELS)}.map(label => {{ try {{ return [label, new TextDecoder(label).encoding] }}"
            " catch { return [label, 'replacement'] } }))"
        )
        assert named == {label: encoding_of(label) for label in LABELS}
        for encoding in SINGLE:
            text = await page.evaluate(f"new TextDecoder('{encoding}').decode(Uint8Array.from(Array(256).keys()))")
            assert decode(bytes(range(256)), encoding)[0] == text, encoding
        for encoding in sorted(PAIRS):
            assert set(await differences(page, encoding, 0x80, 0xFF, 0x20, 0xFF)) <= KNOWN.get(encoding, set())
        assert await differences(page, "euc-jp", 0xA1, 0xFE, 0xA1, 0xFE, before=b"\x8f") == [b"\x8f\xa2\xb7"]
        assert not await differences(page, "iso-2022-jp", 0x21, 0x7E, 0x21, 0x7E, before=b"\x1b$B", after=b"\x1b(B")
        assert not await differences(page, "gb18030", 0x30, 0x39, 0x81, 0xFE, before=b"\x84", after=b"\x31")


async def differences(page, encoding, a, z, first, last, before=b"", after=b""):  # type: ignore[no-untyped-def]
    script = READ % (a, z, first, last, list(before), list(after), encoding)
    theirs = (await page.evaluate(script))[:-1]
    pairs = [before + bytes((one, two)) + after for one in range(a, z + 1) for two in range(first, last + 1)]
    # In parts: beyond 1,500 bad places, or escapes, it makes less of an effort.
    parts = (b"\n".join([*pairs[at : at + 600], b""]) for at in range(0, len(pairs), 600))
    lines = [line for part in parts for line in decode(part, encoding)[0].split("\n")[:-1]]
    ours = [" ".join(f"{ord(character):x}" for character in line) for line in lines]
    assert len(theirs) == len(ours) == len(pairs)
    return [pair for pair, here, there in zip(pairs, ours, theirs, strict=True) if here != there]


def _known_of_big5() -> Iterator[bytes]:
    """Yield what Python's table has not: 192 rare characters of HKSCS, and two that have another place in it.

    Chromium itself has four wrong: the standard has a letter with a combining accent for each.
    """
    yield from (b"\xa2\x41", b"\xa2\x42")
    yield from (b"\x88\x62", b"\x88\x64", b"\x88\xa3", b"\x88\xa5")
    for one in range(0x87, 0xFF):
        for two in range(0x40, 0xFF):
            if decode(bytes((one, two)), "big5")[0][0] == "\ufffd":
                yield bytes((one, two))


KNOWN = {
    "big5": set(_known_of_big5()),
    "euc-jp": {b"\xa1\xa1"},  # Chromium reads it otherwise after a row of bad pairs, and right by itself
}
