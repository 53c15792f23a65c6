"""A Slack app that answers mentions and takes 👍 and 👎 by buttons. See README.md in this folder.

uvicorn --factory slack_app:create_app
"""

import asyncio
import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qs

import httpx
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from openai import AsyncOpenAI
from thumbwheel import FeedbackQueue, feedback_context, wrap_openai

#: The age in seconds after which a signed request is refused, as somebody may send a copy of it.
MOST_AGE_SECONDS = 300
BUTTONS: dict[str, tuple[str, Literal["up", "down"]]] = {"thumb_up": ("👍", "up"), "thumb_down": ("👎", "down")}


def create_app(model_name: str = "support-desk") -> FastAPI:
    secret = os.environ["SLACK_SIGNING_SECRET"]
    slack = httpx.AsyncClient(base_url=os.environ.get("SLACK_API_URL", "https://slack.com/api"), timeout=10)
    bot = {"Authorization": f"Bearer {os.environ['SLACK_BOT_TOKEN']}"}
    thumbs = FeedbackQueue()  # THUMBWHEEL_URL, THUMBWHEEL_API_KEY, THUMBWHEEL_PROJECT
    model = wrap_openai(AsyncOpenAI(), thumbs)  # OPENAI_BASE_URL, OPENAI_API_KEY

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(thumbs.close)
        await slack.aclose()
        await model.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/slack/events")
    async def events(request: Request, background: BackgroundTasks) -> dict[str, Any]:
        """Answers a mention after the response: Slack waits for three seconds, and a model may take longer."""
        payload = json.loads(await signed_body(request, secret))
        if payload["type"] == "url_verification":
            return {"challenge": payload["challenge"]}
        if payload["event"]["type"] == "app_mention" and "x-slack-retry-num" not in request.headers:
            background.add_task(answer, payload["event"])
        return {}

    @app.post("/slack/interactions")
    async def interactions(request: Request, background: BackgroundTasks) -> dict[str, Any]:
        """Takes a press of a button. The queue takes the thumb at once, so Slack has its response in time."""
        body = await signed_body(request, secret)
        payload = json.loads(parse_qs(body.decode())["payload"][0])
        for action in payload.get("actions", ()):
            if action["action_id"] in BUTTONS:
                put_thumb(thumbs, payload, action)
                background.add_task(thank, payload["response_url"])
        return {}

    async def answer(event: dict[str, Any]) -> None:
        thread = event.get("thread_ts") or event["ts"]
        with feedback_context(conversation_id=f"slack-{event['channel']}-{thread}"):
            completion = await model.chat.completions.create(
                model=model_name, messages=[{"role": "user", "content": event["text"]}]
            )
        text = completion.choices[0].message.content or ""
        message = {
            "channel": event["channel"],
            "thread_ts": thread,
            "text": text,
            "blocks": blocks(text, completion.id),
        }
        response = await slack.post("chat.postMessage", json=message, headers=bot)
        posted = response.raise_for_status().json()
        if not posted["ok"]:  # Slack says so with status 200
            raise RuntimeError(f"chat.postMessage: {posted['error']}")

    async def thank(response_url: str) -> None:
        await slack.post(response_url, json={"response_type": "ephemeral", "text": "Thanks, noted."})

    return app


def blocks(text: str, completion_id: str) -> list[dict[str, Any]]:
    """Returns a message with two buttons. Their value is the completion's id, which comes back with a press."""
    buttons = [
        {
            "type": "button",
            "action_id": action_id,
            "text": {"type": "plain_text", "text": label, "emoji": True},
            "value": completion_id,
        }
        for action_id, (label, _) in BUTTONS.items()
    ]
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}, {"type": "actions", "elements": buttons}]


def put_thumb(thumbs: FeedbackQueue, payload: dict[str, Any], action: dict[str, Any]) -> None:
    """Puts the thumb of one press. The same press that comes twice is the same event."""
    person = f"{payload['user']['team_id']}-{payload['user']['id']}"
    thumbs.feedback(
        action["value"],
        f"slack-{person}",
        BUTTONS[action["action_id"]][1],
        event_id=f"slack-{person}-{action['action_ts']}",
        occurred_at=datetime.fromtimestamp(float(action["action_ts"]), UTC),
    )


async def signed_body(request: Request, secret: str) -> bytes:
    """Returns the body of a request that Slack has signed a moment ago. Raises 401 otherwise."""
    body = await request.body()
    timestamp = request.headers.get("x-slack-request-timestamp", "")
    signature = request.headers.get("x-slack-signature", "")
    recent = timestamp.isdecimal() and abs(time.time() - int(timestamp)) <= MOST_AGE_SECONDS
    if not recent or not hmac.compare_digest(signature_of(secret, timestamp, body).encode(), signature.encode()):
        raise HTTPException(401, "This request is not signed by Slack, or is too old.")
    return body


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """Returns Slack's signature, version 0: HMAC-SHA256 of version, time and body."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
