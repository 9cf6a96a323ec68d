import itertools

from hypothesis import given
from hypothesis import strategies as st

from pods.line_splitter import MAX_CHARACTERS, LineSplitter


def split(*chunks: bytes) -> list[str]:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.finish()


@given(st.text(), st.lists(st.integers(min_value=0, max_value=60)))
def test_lines_do_not_depend_on_the_chunks(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "surrogatepass")
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(bounds)]

    assert split(*chunks) == split(data)


def test_line_ends_are_removed() -> None:
    assert split(b"one\r\ntwo\n\nthree") == ["one", "two", "", "three"]


def test_a_line_is_returned_when_it_ends() -> None:
    splitter = LineSplitter()

    assert splitter.feed(b"half") == []
    assert splitter.feed(b" and half\n") == ["half and half"]


def test_a_very_long_line_is_split_before_it_ends() -> None:
    splitter = LineSplitter()

    parts = splitter.feed(b"x" * (2 * MAX_CHARACTERS + 1))

    assert [len(part) for part in parts] == [MAX_CHARACTERS, MAX_CHARACTERS]
    assert splitter.feed(b"\n") == ["x"]


def test_a_line_of_exactly_the_limit_is_not_split() -> None:
    line = "x" * MAX_CHARACTERS

    assert split(line.encode() + b"\n") == [line]
    assert split(line.encode(), b"\n") == [line]


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert split(b"caf\xe9\n") == ["caf\N{REPLACEMENT CHARACTER}"]
