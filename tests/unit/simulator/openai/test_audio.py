import base64
import io
import wave

from penstock_simulator.openai.audio import recording


def test_a_recording_can_be_played():
    with wave.open(io.BytesIO(base64.b64decode(recording("hello", "wav")))) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 24_000)
        assert sound.getnframes() == 300


def test_raw_samples_are_what_a_wav_holds():
    raw = base64.b64decode(recording("hello", "pcm16"))
    assert base64.b64decode(recording("hello", "wav")).endswith(raw)
    assert raw == base64.b64decode(recording("hel", "pcm16")) + base64.b64decode(recording("lo", "pcm16"))
    assert recording("hello", "pcm16") != recording("hallo", "pcm16")
