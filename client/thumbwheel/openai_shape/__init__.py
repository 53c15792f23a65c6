"""Requests and answers in the shape of OpenAI's API, as the log holds them: for the gateway and for wrapped clients."""
