import asyncio
import io
import threading

from penstock_cli.local.voice import LINE_BYTES, Voice, pump


def test_what_is_said_is_written():
    stream = io.BytesIO()
    voice = Voice(stream)
    voice.say("hello")
    voice.pass_on(b"a line\n")
    voice.close()
    assert stream.getvalue() == b"penstock: hello\na line\n"


def test_a_file_name_of_any_bytes_can_be_said():
    stream = io.BytesIO()
    voice = Voice(stream)
    voice.say("\udcff.yaml")
    voice.close()
    assert stream.getvalue() == b"penstock: \\udcff.yaml\n"


class Stuck(io.BytesIO):
    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def write(self, data):
        self.go.wait(5)
        return super().write(data)


def test_a_reader_that_sleeps_stops_nobody():
    stream = Stuck()
    voice = Voice(stream, lines=4)
    for _ in range(100):
        voice.say("x")
    assert voice.dropped >= 90
    stream.go.set()
    voice.close()
    assert b"lines were dropped" in stream.getvalue()


class Gone(io.BytesIO):
    def write(self, data):
        raise BrokenPipeError


def test_a_reader_that_is_gone_is_no_error():
    voice = Voice(Gone())
    voice.say("x")
    voice.close()


def test_a_full_queue_cannot_hold_up_the_end(monkeypatch):
    monkeypatch.setattr("penstock_cli.local.voice._CLOSE_SECONDS", 0.05)
    stream = Stuck()
    voice = Voice(stream, lines=1)
    voice.say("x")
    voice.say("y")
    voice.say("z")
    voice.close()
    stream.go.set()


async def test_lines_stay_whole():
    reader = asyncio.StreamReader()
    lines = []
    for chunk in (b"one\ntw", b"o\n", b"y" * (LINE_BYTES + 5), b"\nend"):
        reader.feed_data(chunk)
    reader.feed_eof()
    await pump(reader, lines.append)
    assert lines[:2] == [b"one\n", b"two\n"]
    assert lines[-1] == b"end\n"
    assert b"".join(lines).count(b"y") == LINE_BYTES + 5
    assert all(line.endswith(b"\n") and len(line) <= 2 * LINE_BYTES for line in lines)
