"""A wrapped client of `openai` in front of the gateway: each answer is registered once, by the gateway."""

from openai import OpenAI
from thumbwheel import FeedbackQueue, last_completion_id, wrap_openai

MESSAGES = [{"role": "user", "content": "Where is it?"}]


def test_an_answer_of_the_gateway_is_not_registered_a_second_time(serve):
    desk = serve("a")
    with (
        FeedbackQueue("http://127.0.0.1:1", close_seconds=0) as thumbs,
        OpenAI(base_url=f"{desk.url}/v1", api_key=desk.key, max_retries=0) as bare,
    ):
        client = wrap_openai(bare, thumbs)
        answer = client.chat.completions.create(model="desk", messages=MESSAGES)
        assert last_completion_id() == answer.id
        chunks = list(client.chat.completions.create(model="desk", messages=MESSAGES, stream=True))
        waiting = thumbs.figures.waiting

    assert waiting == 0
    assert desk.registered(answer.id).token_ids
    assert desk.registered(chunks[0].id).completion == "It left this morning."
