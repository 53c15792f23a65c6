"""A chat backend whose users press thumbs. See README.md in this folder.

uvicorn --factory chat_backend:create_app
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import FastAPI, Header
from openai import AsyncOpenAI
from pydantic import BaseModel
from thumbwheel import AsyncClient, FeedbackQueue, feedback_context, wire, wrap_openai

#: The user who is logged in. A product takes it from its session.
User = Annotated[str, Header(alias="X-User")]


class Question(BaseModel):
    text: str
    conversation_id: str


class Answer(BaseModel):
    """An answer, with the id that the page sends back with a thumb."""

    id: str
    text: str


class Thumb(BaseModel):
    value: Literal["up", "down"]


class Edit(BaseModel):
    text: str


def create_app(model_name: str = "support-desk") -> FastAPI:
    thumbs = FeedbackQueue()  # THUMBWHEEL_URL, THUMBWHEEL_API_KEY, THUMBWHEEL_PROJECT
    thumbwheel = AsyncClient()
    model = wrap_openai(AsyncOpenAI(), thumbs)  # OPENAI_BASE_URL, OPENAI_API_KEY

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(thumbs.close)  # sends what waits, for five seconds at most
        await thumbwheel.close()
        await model.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/chat")
    async def chat(question: Question, user: User) -> Answer:
        """Answers. The wrapped client registers the answer by its id, in the background."""
        with feedback_context(actor=user, conversation_id=question.conversation_id):
            answer = await model.chat.completions.create(
                model=model_name, messages=[{"role": "user", "content": question.text}]
            )
        return Answer(id=answer.id, text=answer.choices[0].message.content or "")

    @app.post("/answers/{answer_id}/thumb", status_code=202)
    async def thumb(answer_id: str, thumb: Thumb, user: User) -> None:
        """Puts a thumb into the queue: the user waits for nothing, and no fault of Thumbwheel's is the user's."""
        thumbs.feedback(answer_id, user, thumb.value)

    @app.post("/answers/{answer_id}/edit")
    async def edit(answer_id: str, edit: Edit, user: User) -> wire.EventReceipt:
        """Sends what the user made of the answer, and answers once it is committed."""
        return await thumbwheel.feedback(answer_id, user, wire.Edit(text=edit.text))

    return app
