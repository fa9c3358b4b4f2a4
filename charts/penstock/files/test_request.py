"""What `helm test` does: one request through the gateway; without a key, a look at whether it answers as it should."""

import os
import sys
import time

import httpx

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 2.0
# What passes by itself while a release starts: a key or a model that is not loaded everywhere yet, no account yet.
PASSING = frozenset({401, 404, 429, 500, 502, 503, 504, 529})


def ask(client: httpx.Client, key: str, model: str) -> httpx.Response:
    """Send the smallest request there is, or ask for the models without a key."""
    if not key:
        return client.get("/v1/models")
    question = {"model": model, "max_tokens": 32, "messages": [{"role": "user", "content": "Say hello."}]}
    return client.post("/v1/chat/completions", json=question, headers={"authorization": f"Bearer {key}"})


def said(answer: httpx.Response) -> str:
    """Return an error's own words."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "an answer that is none of the gateway's"


def attempt(client: httpx.Client, key: str, model: str) -> tuple[bool, bool, str]:
    """Ask once. Returns whether all is well, whether asking again may help, and what to tell people."""
    try:
        answer = ask(client, key, model)
    except httpx.HTTPError as error:
        return False, True, f"no answer: {type(error).__name__} {error}"
    where = f"{answer.status_code} (request-id {answer.headers.get('request-id', 'missing')})"
    if not key:
        well = answer.status_code == httpx.codes.UNAUTHORIZED and "request-id" in answer.headers
        return well, True, f"a request without a key: {where}"
    if answer.status_code != httpx.codes.OK:
        return False, answer.status_code in PASSING, f"{model}: {where}: {said(answer)}"
    usage = answer.json()["usage"]
    tokens = f"{usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out"
    return usage["completion_tokens"] > 0, False, f"{model}: {where}, {tokens}"


def main() -> int:
    """Ask until the answer is the right one; the exit code says whether it came in time."""
    url, model = os.environ["TEST_URL"], os.environ["TEST_MODEL"]
    secret, key = os.environ.get("TEST_SECRET", ""), os.environ.get("TEST_KEY", "").strip()
    if secret and not key:
        sys.stdout.write(f"Secret {secret} is missing or holds no key: see the notes of the release\n")
        return 1
    end = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(base_url=url, timeout=60.0, trust_env=False) as client:
        while True:
            well, again, words = attempt(client, key, model)
            sys.stdout.write(f"{'ok' if well else 'not ok'}: {words}\n")
            sys.stdout.flush()
            if well or not again or time.monotonic() >= end:
                return 0 if well else 1
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
