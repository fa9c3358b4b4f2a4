"""Checks the parts of a message's content, in the forms of Chat Completions and of Responses."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any

from penstock_simulator.openai.errors import invalid
from penstock_simulator.openai.fields import filled, may, missing, need, one_of, only, typed, wrong_type, wrong_value
from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_simulator.openai.models import Model

_DATA = re.compile(r"data:(?P<media>[\w.+-]+/[\w.+-]+)(?:;[\w=.-]+)*;base64,")
_IMAGES = {"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"}
_MARK = "prompt_cache_breakpoint"
_DETAILS = ("auto", "low", "high", "original")
# Fields of a part beside `type` and the cache's mark.
_CHAT_FIELDS: Mapping[str, set[str]] = {
    "text": {"text"},
    "image_url": {"image_url"},
    "input_audio": {"input_audio"},
    "file": {"file"},
    "refusal": {"refusal"},
}
_RESPONSES_FIELDS: Mapping[str, set[str]] = {
    "input_text": {"text"},
    "input_image": {"image_url", "file_id", "detail"},
    "input_file": {"file_data", "file_id", "file_url", "filename", "detail"},
    "input_audio": {"input_audio"},
    "output_text": {"text", "annotations", "logprobs"},
    "refusal": {"refusal"},
    "summary_text": {"text"},
    "reasoning_text": {"text"},
    "computer_screenshot": {"image_url", "file_id"},
}


class Parts:
    """Checks the parts of one request."""

    def __init__(self, model: Model, *, responses: bool) -> None:
        self._model = model
        self._fields = _RESPONSES_FIELDS if responses else _CHAT_FIELDS

    def check(self, content: Any, at: str, allowed: tuple[str, ...]) -> None:
        """Check a content that is a text or a list of parts of these types."""
        if isinstance(content, str):
            return
        if not isinstance(content, list):
            raise wrong_type(at, "one of a string or array of objects", content)
        filled(content, at)
        for index, part in enumerate(content):
            self._part(typed(part, dict, f"{at}[{index}]"), f"{at}[{index}]", allowed)

    def _part(self, part: dict[str, Any], at: str, allowed: tuple[str, ...]) -> None:
        kind = need(part, "type", str, at)
        if kind not in allowed:
            raise wrong_value(f"{at}.type", kind, allowed)
        if self._model.free:
            only(part, self._fields[kind] | {"type", _MARK, "cache_control"}, at)
        else:
            only(part, self._fields[kind] | {"type", _MARK}, at)
        match kind:
            case "text" | "input_text" | "output_text" | "summary_text" | "reasoning_text":
                need(part, "text", str, at)
            case "refusal":
                need(part, "refusal", str, at)
            case "image_url":
                inner = need(part, "image_url", dict, at)
                only(inner, {"url", "detail"}, f"{at}.image_url")
                _image(need(inner, "url", str, f"{at}.image_url"), f"{at}.image_url.url")
                one_of(inner, "detail", _DETAILS, f"{at}.image_url")
            case "input_image":
                self._input_image(part, at)
            case "file":
                _file(need(part, "file", dict, at), f"{at}.file")
            case "input_file":
                _file({name: value for name, value in part.items() if name not in {"type", _MARK, "detail"}}, at)
            case "input_audio":
                self._audio(need(part, "input_audio", dict, at), f"{at}.input_audio")

    def _input_image(self, part: dict[str, Any], at: str) -> None:
        one_of(part, "detail", _DETAILS, at)
        url = may(part, "image_url", str, at)
        if url is None and may(part, "file_id", str, at) is None:
            raise missing(f"{at}.image_url")
        if url is not None:
            _image(url, f"{at}.image_url")
        else:
            raise _no_such_file(part["file_id"])

    def _audio(self, audio: dict[str, Any], at: str) -> None:
        if not self._model.audio and not self._model.free:
            raise invalid(
                "Content blocks are expected to be either text or image_url type.",
                at.partition("[")[0],
                "invalid_value",
            )
        only(audio, {"data", "format"}, at)
        if one_of(audio, "format", ("wav", "mp3"), at) is None:
            raise missing(f"{at}.format")
        if not _is_base64(need(audio, "data", str, at)):
            raise invalid(
                f"Invalid '{at}.data': the value could not be decoded as base64.", f"{at}.data", "invalid_value"
            )


def _image(url: str, where: str) -> None:
    if url.startswith(("http://", "https://")):
        return
    form = _DATA.match(url)
    if form is None:
        raise invalid(
            f"Invalid '{where}'. Expected a valid URL, but got a value with an invalid format.", where, "invalid_value"
        )
    if form["media"].lower() not in _IMAGES:
        raise invalid(
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            "['png', 'jpeg', 'gif', 'webp'].",
            where,
            "invalid_image_format",
        )
    if not _is_base64(url[form.end() :]):
        raise invalid(
            f"Invalid '{where}'. Expected a base64-encoded data URL with an image MIME type (e.g. "
            "'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got an invalid base64-encoded value.",
            where,
            "invalid_base64",
        )


def _file(file: dict[str, Any], at: str) -> None:
    only(file, {"file_data", "file_id", "file_url", "filename"}, at)
    data, file_id, url = may(file, "file_data", str, at), may(file, "file_id", str, at), may(file, "file_url", str, at)
    given = [one for one in (data, file_id, url) if one is not None]
    if not given:
        raise missing(f"{at}.file_id")
    if len(given) > 1:
        raise invalid(
            f"Mutually exclusive parameters: '{at}'. Ensure you are only providing one of: 'file_id', "
            "'file_url' or 'file_data'.",
            at,
            "mutually_exclusive_parameters",
        )
    if file_id is not None:
        raise _no_such_file(file_id)
    if url is not None and not url.startswith(("http://", "https://")):
        raise invalid(f"Invalid '{at}.file_url'. Expected a valid URL.", f"{at}.file_url", "invalid_value")
    if data is not None:
        _file_data(file, data, at)


def _file_data(file: dict[str, Any], data: str, at: str) -> None:
    where = f"{at}.file_data"
    if may(file, "filename", str, at) is None:
        raise missing(f"{at}.filename")
    example = "(e.g. 'data:application/pdf;base64,aW1nIGJ5dGVzIGhlcmU=')"
    wanted = f"Expected a base64-encoded data URL with an application/pdf MIME type {example}, but got"
    form = _DATA.match(data)
    if form is None:
        raise invalid(f"Invalid '{where}'. {wanted} a value without the 'data:' prefix.", where, "invalid_value")
    if form["media"].lower() != "application/pdf" and not form["media"].startswith("text/"):
        raise invalid(f"Invalid '{where}'. {wanted} unsupported MIME type '{form['media']}'.", where, "invalid_value")
    if not _is_base64(data[form.end() :]):
        raise invalid(f"Invalid '{where}'. {wanted} an invalid base64-encoded value.", where, "invalid_value")


def _is_base64(text: str) -> bool:
    try:
        return bool(binascii.a2b_base64(text.encode("ascii"), strict_mode=True))
    except (binascii.Error, UnicodeEncodeError):
        return False


def _no_such_file(file_id: str) -> RefusalError:
    return RefusalError(404, "invalid_request_error", f"Files with IDs ['{file_id}'] were not found.", param="file_id")
