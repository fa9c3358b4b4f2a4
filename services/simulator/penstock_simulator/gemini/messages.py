"""The messages that requests of the Gemini API consist of: field by field, as `proto` reads them.

What only Vertex AI knows (`labels`, `audioTimestamp`, ...) is not here, so it is refused as an unknown name.
"""

from __future__ import annotations

from penstock_simulator.gemini.proto import Field, Kind, Message, Names, Scalar

_STRING, _BOOL, _INT32, _INT64, _FLOAT = Scalar.STRING, Scalar.BOOL, Scalar.INT32, Scalar.INT64, Scalar.FLOAT
_BYTES, _STRUCT, _VALUE = Scalar.BYTES, Scalar.STRUCT, Scalar.VALUE


def _fields(kind: Kind, *names: str) -> tuple[Field, ...]:
    return tuple(Field(name, kind) for name in names)


def _many(kind: Kind, *names: str) -> tuple[Field, ...]:
    return tuple(Field(name, kind, repeated=True) for name in names)


def _names(name: str, unspecified: str, *values: str) -> Names:
    return Names(name, frozenset({unspecified, *values}))


_HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY")
# Known to the message and still refused, because they belong to models of the past.
_OLD_HARMS = ("DEROGATORY", "TOXICITY", "VIOLENCE", "SEXUAL", "MEDICAL", "DANGEROUS")
HARMS = tuple(f"HARM_CATEGORY_{name}" for name in _HARMS)
_HARM = _names("HarmCategory", "HARM_CATEGORY_UNSPECIFIED", *HARMS, *(f"HARM_CATEGORY_{name}" for name in _OLD_HARMS))
_THRESHOLD = _names(
    "SafetySetting.HarmBlockThreshold",
    "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
    "BLOCK_LOW_AND_ABOVE",
    "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_ONLY_HIGH",
    "BLOCK_NONE",
    "OFF",
)
_MODE = _names("FunctionCallingConfig.Mode", "MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
_TYPE = _names("Type", "TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
_LEVEL = _names("ThinkingConfig.ThinkingLevel", "THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH")
_MODALITY = _names("GenerationConfig.Modality", "MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO")
_RESOLUTION = _names(
    "GenerationConfig.MediaResolution",
    "MEDIA_RESOLUTION_UNSPECIFIED",
    "MEDIA_RESOLUTION_LOW",
    "MEDIA_RESOLUTION_MEDIUM",
    "MEDIA_RESOLUTION_HIGH",
)
_TIER = _names("ServiceTier", "UNSPECIFIED", "STANDARD", "FLEX", "PRIORITY")
_BEHAVIOR = _names("FunctionDeclaration.Behavior", "UNSPECIFIED", "BLOCKING", "NON_BLOCKING")
_SCHEDULING = _names("FunctionResponse.Scheduling", "SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT")
_LANGUAGE = _names("ExecutableCode.Language", "LANGUAGE_UNSPECIFIED", "PYTHON")
_OUTCOME = _names(
    "CodeExecutionResult.Outcome",
    "OUTCOME_UNSPECIFIED",
    "OUTCOME_OK",
    "OUTCOME_FAILED",
    "OUTCOME_DEADLINE_EXCEEDED",
)
_TASK = _names(
    "TaskType",
    "TASK_TYPE_UNSPECIFIED",
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)

# -- what is said

_BLOB = Message("Blob")
_BLOB.define(*_fields(_STRING, "mime_type"), *_fields(_BYTES, "data"))
_FILE = Message("FileData")
_FILE.define(*_fields(_STRING, "mime_type", "file_uri"))
_CALL = Message("FunctionCall")
_CALL.define(*_fields(_STRING, "id", "name"), *_fields(_STRUCT, "args"))
_RESPONSE_BLOB = Message("FunctionResponseBlob")
_RESPONSE_BLOB.define(*_fields(_STRING, "mime_type", "display_name"), *_fields(_BYTES, "data"))
_RESPONSE_PART = Message("FunctionResponsePart")
_RESPONSE_PART.define(*_fields(_RESPONSE_BLOB, "inline_data"))
_RESPONSE = Message("FunctionResponse")
_RESPONSE.define(
    *_fields(_STRING, "id", "name"),
    *_fields(_STRUCT, "response"),
    *_many(_RESPONSE_PART, "parts"),
    *_fields(_BOOL, "will_continue"),
    *_fields(_SCHEDULING, "scheduling"),
)
_CODE = Message("ExecutableCode")
_CODE.define(*_fields(_STRING, "id", "code"), *_fields(_LANGUAGE, "language"))
_CODE_RESULT = Message("CodeExecutionResult")
_CODE_RESULT.define(*_fields(_STRING, "id", "output"), *_fields(_OUTCOME, "outcome"))
_TOOL_CALL = Message("ToolCall")
_TOOL_CALL.define(*_fields(_STRING, "id", "tool_type"), *_fields(_STRUCT, "args"))
_TOOL_RESPONSE = Message("ToolResponse")
_TOOL_RESPONSE.define(*_fields(_STRING, "id", "tool_type"), *_fields(_STRUCT, "response"))

DATA: dict[str, Kind] = {
    "text": _STRING,
    "inline_data": _BLOB,
    "function_call": _CALL,
    "function_response": _RESPONSE,
    "file_data": _FILE,
    "executable_code": _CODE,
    "code_execution_result": _CODE_RESULT,
    "tool_call": _TOOL_CALL,
    "tool_response": _TOOL_RESPONSE,
}
"""What a part can hold: one of these, and only one."""
_PART = Message("Part")
_PART.define(
    *(Field(name, kind, oneof="data") for name, kind in DATA.items()),
    *_fields(_BOOL, "thought"),
    *_fields(_BYTES, "thought_signature"),
    *_fields(_STRUCT, "part_metadata", "video_metadata", "media_resolution", "media_processing"),
    *_fields(_STRUCT, "audio_transcription", "speech_metadata", "audio_metadata"),
    *_fields(_STRUCT, "document_metadata", "spreadsheet_metadata"),
)
_CONTENT = Message("Content")
_CONTENT.define(*_fields(_STRING, "role"), *_many(_PART, "parts"))

# -- tools

_SCHEMA = Message("Schema")
_SCHEMA.define(
    *_fields(_TYPE, "type"),
    *_fields(_STRING, "format", "title", "description", "pattern"),
    *_fields(_BOOL, "nullable"),
    *_many(_STRING, "enum", "required", "property_ordering"),
    *_fields(_INT64, "max_items", "min_items", "min_properties", "max_properties", "min_length", "max_length"),
    *_fields(_FLOAT, "minimum", "maximum"),
    *_fields(_VALUE, "example", "default"),
    *_fields(_SCHEMA, "items"),
    *_many(_SCHEMA, "any_of"),
    Field("properties", _SCHEMA, mapped=True),
)
_FUNCTION = Message("FunctionDeclaration")
_FUNCTION.define(
    *_fields(_STRING, "name", "description"),
    *_fields(_BEHAVIOR, "behavior"),
    *_fields(_SCHEMA, "parameters", "response"),
    *_fields(_VALUE, "parameters_json_schema", "response_json_schema"),
)
_NOTHING = Message("CodeExecution")
_URL_CONTEXT = Message("UrlContext")
_SEARCH = Message("GoogleSearch")
_SEARCH.define(*_fields(_STRUCT, "time_range_filter", "search_types"))
_TOOL = Message("Tool")
_TOOL.define(
    *_many(_FUNCTION, "function_declarations"),
    *_fields(_SEARCH, "google_search"),
    *_fields(_NOTHING, "code_execution"),
    *_fields(_URL_CONTEXT, "url_context"),
    *_fields(_STRUCT, "google_search_retrieval", "computer_use", "file_search", "google_maps"),
    *_many(_STRUCT, "mcp_servers"),
)
_CALLING = Message("FunctionCallingConfig")
_CALLING.define(*_fields(_MODE, "mode"), *_many(_STRING, "allowed_function_names"))
_TOOL_CONFIG = Message("ToolConfig")
_TOOL_CONFIG.define(
    *_fields(_CALLING, "function_calling_config"),
    *_fields(_STRUCT, "retrieval_config"),
    *_fields(_BOOL, "include_server_side_tool_invocations"),
)

# -- how to answer

_THINKING = Message("ThinkingConfig")
_THINKING.define(
    *_fields(_BOOL, "include_thoughts"), *_fields(_INT32, "thinking_budget"), *_fields(_LEVEL, "thinking_level")
)
_GENERATION = Message("GenerationConfig")
_GENERATION.define(
    *_fields(_INT32, "candidate_count", "max_output_tokens", "top_k", "seed", "logprobs"),
    *_fields(_FLOAT, "temperature", "top_p", "presence_penalty", "frequency_penalty"),
    *_many(_STRING, "stop_sequences"),
    *_fields(_STRING, "response_mime_type"),
    *_fields(_SCHEMA, "response_schema"),
    *_fields(_VALUE, "response_json_schema"),
    *_fields(_BOOL, "response_logprobs", "enable_enhanced_civic_answers"),
    *_many(_MODALITY, "response_modalities"),
    *_fields(_RESOLUTION, "media_resolution"),
    *_fields(_STRUCT, "speech_config", "image_config", "audio_transcription_config"),
    *_fields(_THINKING, "thinking_config"),
)
_SAFETY = Message("SafetySetting")
_SAFETY.define(*_fields(_HARM, "category"), *_fields(_THRESHOLD, "threshold"))

# -- requests

GENERATE = Message("GenerateContentRequest")
GENERATE.define(
    *_fields(_STRING, "model", "cached_content"),
    *_fields(_CONTENT, "system_instruction"),
    *_many(_CONTENT, "contents"),
    *_many(_TOOL, "tools"),
    *_fields(_TOOL_CONFIG, "tool_config"),
    *_many(_SAFETY, "safety_settings"),
    *_fields(_GENERATION, "generation_config"),
    *_fields(_BOOL, "store"),
    *_fields(_TIER, "service_tier"),
)
COUNT = Message("CountTokensRequest")
COUNT.define(*_fields(_STRING, "model"), *_many(_CONTENT, "contents"), *_fields(GENERATE, "generate_content_request"))
EMBED = Message("EmbedContentRequest")
EMBED.define(
    *_fields(_STRING, "model", "title"),
    *_fields(_CONTENT, "content"),
    *_fields(_TASK, "task_type"),
    *_fields(_INT32, "output_dimensionality"),
)
BATCH_EMBED = Message("BatchEmbedContentsRequest")
BATCH_EMBED.define(*_fields(_STRING, "model"), *_many(EMBED, "requests"))
