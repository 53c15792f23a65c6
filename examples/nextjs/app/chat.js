"use client";

import { useState } from "react";
import "thumbwheel/widget";

export function Chat({ url, browserKey }) {
  const [turns, setTurns] = useState([]);
  const [busy, setBusy] = useState(false);

  async function ask(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const question = { role: "user", content: new FormData(form).get("question") };
    const before = [...turns, question];
    form.reset();
    setBusy(true);
    const response = await fetch("/api/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ messages: before.map(({ role, content }) => ({ role, content })) }),
    });
    const answer = { role: "assistant", content: "", id: response.headers.get("X-Completion-Id") };
    for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
      answer.content += part;
      setTurns([...before, { ...answer }]);
    }
    setTurns([...before, { ...answer, actor: response.headers.get("X-Actor") }]);
    setBusy(false);
  }

  return (
    <main>
      {turns.map(({ role, content, id, actor }, index) => (
        <section key={index}>
          <p>
            <b>{role}</b> {content}
          </p>
          {actor && (
            <thumbwheel-thumbs url={url} browser-key={browserKey} completion-id={id} actor={actor} comment="" />
          )}
        </section>
      ))}
      <form onSubmit={ask}>
        <input name="question" aria-label="Question" required />
        <button disabled={busy}>Ask</button>
      </form>
    </main>
  );
}
