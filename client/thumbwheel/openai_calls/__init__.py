"""`wrap_openai`: an OpenAI client that registers the completions that it gets."""

from thumbwheel.openai_calls.wrap import wrap_openai

__all__ = ["wrap_openai"]
