"""Runs the steps of a plan against one server through one SDK client, and prints a line of JSON
for each: {check, ok, detail}. What is tested is in scenario.py; how a client is driven is in
client_py*.py, which hand in `connect(plan)`. checks.mjs is the same for TypeScript.
"""

import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from row_callers import plain

LEGAL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
STEP_TIMEOUT = 15


def print_line(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def check(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def describe(error: BaseException) -> str:
    while len(inner := getattr(error, "exceptions", ())) == 1:  # a group of one says nothing itself
        error = inner[0]
    code = code_of(error)
    return f"{type(error).__name__}: {error}" + (f" (code {code})" if code is not None else "")


def code_of(error: BaseException) -> int | None:
    return getattr(getattr(error, "error", None), "code", None)


def is_error(result: Any) -> bool:
    return bool(getattr(result, "is_error", getattr(result, "isError", False)))


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


def check_text(text: str, step: dict[str, Any]) -> str:
    if "text" in step:
        check(text == step["text"], f"want {step['text']!r}, got {text!r:.300}")
    for part in step.get("contains", []):
        check(part in text, f"want …{part}…, got {text!r:.300}")
    return text[:300]


def check_list(ids: list[str], step: dict[str, Any]) -> str:
    check(len(ids) == len(set(ids)), f"listed twice: {sorted(i for i in set(ids) if ids.count(i) > 1)}")
    missing = [i for i in step.get("expect", []) if i not in ids]
    check(not missing, f"missing {missing}; listed: {ids}")
    return f"{len(ids)} listed"


async def failure_of(call: Awaitable[Any]) -> tuple[int | None, str]:
    try:
        result = await call
    except Exception as error:  # any failure will do, a hang would not
        return code_of(error), describe(error)
    check(is_error(result), "it worked, but must not")
    return None, f"isError: {text_of(result)}"


class Steps:
    """One method for each kind of step. `client` is what client_py*.py made."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def tools(self, step: dict[str, Any]) -> str:
        names = [tool.name for tool in await self.client.tools()]
        illegal = [name for name in names if not LEGAL_NAME.fullmatch(name)]
        check(not illegal, f"illegal names: {illegal}")
        absent = [p for p in step.get("prefixes", []) if not any(name.startswith(p) for name in names)]
        check(not absent, f"no tool of {absent}; listed: {names}")
        return check_list(names, step)

    async def prompts(self, step: dict[str, Any]) -> str:
        return check_list([prompt.name for prompt in await self.client.prompts()], step)

    async def resources(self, step: dict[str, Any]) -> str:
        return check_list([str(resource.uri) for resource in await self.client.resources()], step)

    async def templates(self, step: dict[str, Any]) -> str:
        return check_list(await self.client.templates(), step)

    async def call(self, step: dict[str, Any]) -> str:
        """One call; with `within`, tried again until it gives the right answer or the seconds are over."""
        deadline = time.monotonic() + step.get("within", 0)
        while True:
            try:
                result = await self.client.call(step["tool"], step["arguments"])
                check(
                    is_error(result) == step.get("is_error", False), f"isError is {is_error(result)}: {text_of(result)}"
                )
                if "types" in step:
                    types = [block.type for block in result.content]
                    check(types == step["types"], f"want blocks {step['types']}, got {types}")
                return check_text(text_of(result), step)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                await anyio.sleep(0.3)

    async def refused(self, step: dict[str, Any]) -> str:
        """A call that has to fail, as an error or as a result with isError; never with silence."""
        code, message = await failure_of(self.client.call(step["tool"], step["arguments"]))
        check("code" not in step or code == step["code"], f"want code {step.get('code')}, got {message}")
        return message

    async def progress(self, step: dict[str, Any]) -> str:
        seen: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        result = await self.client.call(step["tool"], step["arguments"], on_progress)
        before = len(seen)
        await anyio.sleep(0.1)
        check(len(seen) == before, f"{len(seen) - before} of {len(seen)} came after the result")
        wanted = list(range(1, step["steps"] + 1))
        check(seen == wanted, f"want {wanted} in this order, got {seen}")
        return f"{seen}, then {check_text(text_of(result), step)}"

    async def parallel(self, step: dict[str, Any]) -> str:
        """Many calls at once, each with its own answer."""
        answers: dict[tuple[str, int], str] = {}

        async def one(tool: str, a: int) -> None:
            answers[tool, a] = text_of(await self.client.call(tool, {"a": a, "b": 1000}))

        def right(a: int) -> str:
            return step.get("text", "{sum}").format(a=a, sum=a + 1000)

        async with anyio.create_task_group() as tasks:
            for a in range(step["times"]):
                for tool in step["tools"]:
                    tasks.start_soon(one, tool, a)
        wrong = {key: text for key, text in answers.items() if text != right(key[1])}
        check(not wrong, f"mixed up: {wrong}")
        return f"{len(answers)} calls"

    async def overtake(self, step: dict[str, Any]) -> str:
        """A quick call does not wait for a slow one."""
        order: list[str] = []

        async def one(which: str) -> None:
            await self.client.call(step[which]["tool"], step[which]["arguments"])
            order.append(which)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "slow")
            tasks.start_soon(one, "quick")
        check(order[0] == "quick", "the quick call waited for the slow one")
        return ", ".join(order)

    async def cancel(self, step: dict[str, Any]) -> str:
        """Giving a call up has to reach the server that works on it."""

        async def fate() -> str:
            return text_of(await self.client.call(step["fate"], {"key": step["key"]}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.client.call, step["tool"], {"seconds": 20, "key": step["key"]})
            for _ in range(20):
                if await fate() == "running":
                    break
                await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()
        for tries in range(30):
            if await fate() == "cancelled":
                return f"cancelled after ~{tries * 100} ms"
            await anyio.sleep(0.1)
        raise AssertionError(f"the server still has it as {await fate()} after 3 s")

    async def grow(self, step: dict[str, Any]) -> str:
        """A tool that appears while we are connected: announced, then listed, then callable."""
        async with self.client.watch_tools() as announced:
            start = time.monotonic()
            await self.client.call(step["tool"], {"tool": step["name"]})
            await announced()
            after = time.monotonic() - start
            names = [tool.name for tool in await self.client.tools()]
        check(step["exposed"] in names, f"announced, but {step['exposed']} is not listed")
        check_text(text_of(await self.client.call(step["exposed"], {})), step)
        return f"announced after {after * 1000:.0f} ms"

    async def updated(self, step: dict[str, Any]) -> str:
        """A resource that we subscribe to, and that the server says has changed."""
        async with self.client.watch_resource(step["uri"]) as announced:
            await self.client.call(step["tool"], {})
            try:
                uri = await announced()
            finally:
                await self.client.call(step["tool"], {})
        check(uri == step["uri"], f"want {step['uri']}, got {uri}")
        return uri

    async def prompt(self, step: dict[str, Any]) -> str:
        result = await self.client.prompt(step["name"], step["arguments"])
        return check_text("\n".join(message.content.text for message in result.messages), step)

    async def read(self, step: dict[str, Any]) -> str:
        return check_text(await self.read_text(step["uri"]), step)

    async def read_text(self, uri: str) -> str:
        return "\n".join(content.text for content in (await self.client.read(uri)).contents)

    async def collision(self, step: dict[str, Any]) -> str:
        """Two servers have a resource of one name at one URI: both must be there and readable."""
        uris = [str(r.uri) for r in await self.client.resources() if r.name == step["name"]]
        check(len(uris) == len(step["texts"]), f"want {len(step['texts'])} resources named {step['name']}, got {uris}")
        texts = [await self.read_text(uri) for uri in uris]
        check(sorted(texts) == sorted(step["texts"]), f"got {texts} from {uris}")
        return str(uris)

    async def complete(self, step: dict[str, Any]) -> str:
        values = await self.client.complete(
            step.get("prompt"), step.get("uri"), {"name": step["argument"], "value": step["value"]}
        )
        check(values == step["values"], f"want {step['values']}, got {values}")
        return str(values)

    async def asked(self, step: dict[str, Any]) -> str:
        """A call, a prompt or a resource that asks the person at this client, who answers."""
        before = len(self.client.asked)
        if "tool" in step:
            result = await self.client.call(step["tool"], {})
            check(not is_error(result), f"isError: {text_of(result)}")
            said = plain(json.loads(text_of(result)))
            check(said == step["answers"], f"want {step['answers']}, got {said}")
        elif "name" in step:
            said = str((await self.client.prompt(step["name"], {})).messages)
            check(step["part"] in said, f"want …{step['part']}…, got {said}")
        else:
            said = await self.read_text(step["uri"])
            check(said == step["part"], f"want {step['part']!r}, got {said!r}")
        asks = len(self.client.asked) - before
        check(asks == step["asks"], f"asked {asks} times, not {step['asks']}")
        return f"asked {asks} times"

    async def ping(self, step: dict[str, Any]) -> str:
        await self.client.ping()
        return ""


async def perform(steps: Steps, step: dict[str, Any]) -> None:
    if step["do"] == "pause":
        print_line({"pause": step["say"]})
        await anyio.to_thread.run_sync(sys.stdin.readline)
        return
    start = time.monotonic()
    patience = step.get("timeout", step.get("within", 0) + STEP_TIMEOUT)
    try:
        with anyio.fail_after(patience):
            line = {"ok": True, "detail": await getattr(steps, step["do"])(step)}
    except TimeoutError:
        line = {"ok": False, "detail": f"no answer after {patience} s"}
    except Exception as error:  # every failure is a line of the report
        line = {"ok": False, "detail": describe(error)}
    print_line({"check": step["check"], **line, "ms": round((time.monotonic() - start) * 1000)})


async def pages(fetch: Callable[[str | None], Awaitable[Any]], member: str) -> list[Any]:
    """All pages of one list method."""
    items: list[Any] = []
    cursor: str | None = None
    for _ in range(100):
        page = await fetch(cursor)
        items.extend(getattr(page, member))
        cursor = getattr(page, "next_cursor", getattr(page, "nextCursor", None))
        if cursor is None:
            return items
    raise AssertionError("the list does not end: 100 pages read")


def run(connect: Callable[[dict[str, Any]], Any]) -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)

    async def main() -> None:
        connected = False
        try:
            async with connect(plan) as client:
                connected, wanted = True, plan.get("version", client.version)
                detail = f"protocol {client.version}, wanted {wanted}"
                print_line({"check": "connect", "ok": client.version == wanted, "detail": detail})
                steps = Steps(client)
                for step in plan["steps"]:
                    await perform(steps, step)
            print_line({"check": "close", "ok": True, "detail": ""})
        except Exception as error:  # every failure is a line of the report
            print_line({"check": "close" if connected else "connect", "ok": False, "detail": describe(error)})

    anyio.run(main)
