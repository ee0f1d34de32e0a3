"""The MCP server behind the gateway: every tool, resource and prompt that the official suite asks a server for.

It is the SDK's own server, in both eras of the protocol, so that what the suite says about it directly can be
compared with what it says through deputy. `whoami` returns the identity headers that deputy added.
"""

import asyncio
import base64
import json
import struct
import sys
import warnings
from typing import Annotated

import mcp_types as t
import uvicorn
from mcp.server import MCPServer
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import AssistantMessage, Audio, Context, Image, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from pydantic import Field
from starlette.responses import JSONResponse

warnings.simplefilter("ignore")  # the older era's features are deprecated, and are what we test


PNG = base64.b64decode(  # one red pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP8z8AAAAMBAQAY3Y2wAAAAAElFTkSuQmCC"
)
WAV = b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data\0\0\0\0"

CACHEABLE = ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", "server/discover"]
mcp = MCPServer(
    "everything",
    version="1.0.0",
    log_level="WARNING",
    cache_hints={method: CacheHint(ttl_ms=60_000, scope="private") for method in CACHEABLE},
)


def text(uri: str, body: str, mime: str = "text/plain") -> t.EmbeddedResource:
    return t.EmbeddedResource(type="resource", resource=t.TextResourceContents(uri=uri, mime_type=mime, text=body))


def words(function) -> str:
    return function.__doc__ or function.__name__.replace("_", " ")


def tool(function):
    mcp.add_tool(function, description=words(function), structured_output=False)
    return function


def prompt(function):
    return mcp.prompt(description=words(function))(function)


# Results of every kind.


@tool
def whoami(ctx: Context) -> str:
    """Who the gateway says is calling: the x-deputy-* headers of this request, and any credential that leaked."""
    headers = ctx.headers or {}
    return json.dumps({k: v for k, v in headers.items() if k.startswith("x-deputy-") or k in ("authorization", "cookie", "origin")})


@tool
def test_simple_text() -> str:
    return "This is a simple text response for testing."


@tool
def test_image_content() -> Image:
    return Image(data=PNG, format="png")


@tool
def test_audio_content() -> Audio:
    return Audio(data=WAV, format="wav")


@tool
def test_embedded_resource() -> t.EmbeddedResource:
    return text("test://embedded-resource", "This is an embedded resource content.")


@tool
def test_multiple_content_types() -> list:
    embedded = text("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return ["Multiple content types test:", Image(data=PNG, format="png"), embedded]


@tool
def test_error_handling() -> str:
    raise ToolError("This tool intentionally returns an error for testing")


@tool
def test_x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    return f"region {region}"


# Streams: notifications before the answer, requests back to the client, a stream that is cut and resumed.


@tool
async def test_tool_with_logging(ctx: Context) -> str:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(line)
        await asyncio.sleep(0.05)
    return "logged"


@tool
async def test_logging_tool(ctx: Context) -> str:
    await ctx.info("only for those who asked")
    return "logged"


@tool
async def test_tool_with_progress(ctx: Context) -> str:
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return "done"


@tool
async def test_sampling(prompt: str, ctx: Context) -> str:
    message = t.SamplingMessage(role="user", content=t.TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {answer.content.text}"


async def ask(ctx: Context, message: str, properties: dict, required: list[str]) -> str:
    schema = {"type": "object", "properties": properties, "required": required}
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


@tool
async def test_elicitation(message: str, ctx: Context) -> str:
    fields = {name: {"type": "string", "description": name} for name in ("username", "email")}
    return await ask(ctx, message, fields, list(fields))


@tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return await ask(ctx, "Please review", fields, [])


@tool
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
    fields = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return await ask(ctx, "Please choose", fields, [])


@tool
async def test_reconnection(ctx: Context) -> str:
    await ctx.close_sse_stream()
    await asyncio.sleep(0.1)
    return "delivered after the client came back"


@tool
async def test_trigger_tool_change(ctx: Context) -> str:
    await ctx.notify_tools_changed()
    return "changed"


@tool
async def test_trigger_prompt_change(ctx: Context) -> str:
    await ctx.notify_prompts_changed()
    return "changed"


# Input required (2026-07-28): the answer asks for more, and the client calls again with it.


def elicit(message: str, **properties: str) -> t.ElicitRequest:
    schema = {"type": "object", "properties": {k: {"type": v} for k, v in properties.items()}, "required": list(properties)}
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(prompt: str) -> t.CreateMessageRequest:
    message = t.SamplingMessage(role="user", content=t.TextContent(type="text", text=prompt))
    return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[message], max_tokens=100))


def required(ctx: Context, requests: dict, state: str | None = None) -> t.InputRequiredResult | None:
    """What is still missing, or None when every key was answered and the state is the one expected."""
    if all(key in (ctx.input_responses or {}) for key in requests) and ctx.request_state == state:
        return None
    return t.InputRequiredResult(input_requests=requests, request_state=state)


NAME = elicit("What is your name?", name="string")
CONFIRM = elicit("Please confirm", ok="boolean")


@tool
async def test_input_required_result_elicitation(ctx: Context) -> str | t.InputRequiredResult:
    return required(ctx, {"user_name": NAME}) or f"Hello, {(ctx.input_responses['user_name'].content or {}).get('name')}!"


@tool
async def test_input_required_result_sampling(ctx: Context) -> str | t.InputRequiredResult:
    missing = required(ctx, {"capital_question": sample("What is the capital of France?")})
    return missing or ctx.input_responses["capital_question"].content.text


@tool
async def test_input_required_result_list_roots(ctx: Context) -> str | t.InputRequiredResult:
    missing = required(ctx, {"client_roots": t.ListRootsRequest()})
    return missing or f"Roots: {[str(root.uri) for root in ctx.input_responses['client_roots'].roots]}"


@tool
async def test_input_required_result_request_state(ctx: Context) -> str | t.InputRequiredResult:
    return required(ctx, {"confirm": CONFIRM}, "round-1") or "state-ok"


@tool
async def test_input_required_result_tampered_state(ctx: Context) -> str | t.InputRequiredResult:
    return required(ctx, {"confirm": CONFIRM}, "sealed by the SDK") or "state-ok"


@tool
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | t.InputRequiredResult:
    requests = {"user_name": NAME, "greeting": sample("Generate a greeting"), "client_roots": t.ListRootsRequest()}
    return required(ctx, requests, "several") or "all three arrived"


@tool
async def test_input_required_result_multi_round(ctx: Context) -> str | t.InputRequiredResult:
    second = {"step2": elicit("Step 2: What is your favorite color?", color="string")}
    if ctx.request_state is None:
        return required(ctx, {"step1": elicit("Step 1: What is your name?", name="string")}, "round-1")
    return required(ctx, second, "round-2") or "three rounds"


@tool
async def test_input_required_result_capabilities(ctx: Context) -> str | t.InputRequiredResult:
    able = ctx.client_capabilities or t.ClientCapabilities()
    requests = {}
    if able.sampling is not None:
        requests["capital"] = sample("What is the capital of France?")
    if able.elicitation is not None:
        requests["name"] = NAME
    return (required(ctx, requests) if requests else None) or "nothing to ask"


@tool
async def test_streaming_elicitation(ctx: Context) -> str | t.InputRequiredResult:
    await ctx.report_progress(1, 2)
    return required(ctx, {"user_name": NAME}) or "answered"


@tool
async def test_missing_capability(ctx: Context) -> str:
    if (ctx.client_capabilities or t.ClientCapabilities()).sampling is None:
        data = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(code=-32021, message="Missing required client capability", data=data)
    return "able to sample"


# Resources and prompts.


@mcp.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@mcp.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return PNG


@mcp.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    return "Watched"


@mcp.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


@prompt
def test_simple_prompt() -> str:
    return "This is a simple prompt for testing."


@prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list:
    embedded = text(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(embedded), UserMessage("Please process the embedded resource above.")]


@prompt
def test_prompt_with_image() -> list:
    picture = t.ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")
    return [UserMessage(picture), AssistantMessage("I see one red pixel.")]


@prompt
async def test_input_required_result_prompt(ctx: Context) -> str | t.InputRequiredResult:
    missing = required(ctx, {"user_context": elicit("What context should the prompt use?", context="string")})
    return missing or f"In this context: {ctx.input_responses['user_context'].content}"


@mcp.completion()
async def complete(ref, argument, context) -> t.Completion:
    return t.Completion(values=[argument.value + suffix for suffix in ("1", "2")], total=2, has_more=False)


async def acknowledge(ctx, params) -> t.EmptyResult:
    return t.EmptyResult()


ACKNOWLEDGED = {  # the high-level server has no decorator for these
    "resources/subscribe": t.SubscribeRequestParams,
    "resources/unsubscribe": t.UnsubscribeRequestParams,
    "logging/setLevel": t.SetLevelRequestParams,
}
for method, params in ACKNOWLEDGED.items():
    mcp._lowlevel_server.add_request_handler(method, params, acknowledge)


class Events(EventStore):
    """Enough memory to resume a cut stream."""

    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []

    async def store_event(self, stream_id, message) -> str:
        self.log.append((stream_id, message))
        return str(len(self.log) - 1)

    async def replay_events_after(self, last_event_id, send_callback):
        stream = self.log[int(last_event_id)][0]
        for number in range(int(last_event_id) + 1, len(self.log)):
            owner, message = self.log[number]
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class Counted:
    """Counts what arrives, so that a test can tell that nothing did; `GET /test/count` is not counted."""

    def __init__(self, app) -> None:
        self.app, self.arrived = app, 0

    async def __call__(self, scope, receive, send) -> None:
        if scope.get("path") == "/test/count":
            return await JSONResponse({"arrived": self.arrived})(scope, receive, send)
        self.arrived += scope["type"] == "http"
        await self.app(scope, receive, send)


if __name__ == "__main__":
    port = int(sys.argv[1])
    hosts = [f"{name}:{port}" for name in ("localhost", "127.0.0.1")]
    app = mcp.streamable_http_app(
        event_store=Events(),
        retry_interval=500,
        transport_security=TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{h}" for h in hosts]),
    )
    uvicorn.run(Counted(app), host="127.0.0.1", port=port, log_level="warning")
