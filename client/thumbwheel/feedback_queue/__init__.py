"""`FeedbackQueue`: feedback from a product's requests, sent in the background."""

from thumbwheel.feedback_queue.delivery import Undelivered
from thumbwheel.feedback_queue.feedback_queue import FeedbackQueue
from thumbwheel.feedback_queue.results import QueueFigures

__all__ = ["FeedbackQueue", "QueueFigures", "Undelivered"]
