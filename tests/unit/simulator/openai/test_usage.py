from penstock_simulator.openai.reply import Reply
from penstock_simulator.openai.usage import Counts
from penstock_simulator.records import Usage


def test_the_same_counts_in_each_form():
    counts = Counts.of(100, 64, [Reply(reasoning="r" * 8, text="t" * 10), Reply(text="t" * 6)])
    assert counts == (100, 64, 6, 2)
    assert counts.told() == Usage(36, 6, 64)
    chat, responses = counts.chat(), counts.responses()
    assert (chat["prompt_tokens"], chat["completion_tokens"], chat["total_tokens"]) == (100, 6, 106)
    assert chat["prompt_tokens_details"] == {"cached_tokens": 64, "audio_tokens": 0, "cache_write_tokens": 0}
    assert chat["completion_tokens_details"]["reasoning_tokens"] == 2
    assert (responses["input_tokens"], responses["output_tokens"], responses["total_tokens"]) == (100, 6, 106)
    assert responses["output_tokens_details"] == {"reasoning_tokens": 2}
