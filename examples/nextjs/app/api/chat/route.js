import { cookies } from "next/headers";
import { after } from "next/server";
import { Thumbwheel } from "thumbwheel";
import { reply } from "../../../model.js";

/** @type {Thumbwheel | undefined} Made at the first request: a build has no keys. */
let thumbwheel;

export async function POST(request) {
  const { messages } = await request.json();
  const completionId = crypto.randomUUID();
  const actor = await actorOf();
  let completion = "";
  let complete = false;

  const stream = new ReadableStream({
    async start(controller) {
      for await (const word of reply(messages)) {
        completion += word;
        controller.enqueue(new TextEncoder().encode(word));
      }
      complete = true;
      controller.close();
    },
  });

  // The user does not wait for this; what comes first, this or the thumb, makes no difference.
  after(async () => {
    thumbwheel ??= new Thumbwheel();
    if (complete) await thumbwheel.registerCompletion(completionId, { prompt: messages, completion });
  });

  return new Response(stream, {
    headers: { "Content-Type": "text/plain; charset=utf-8", "X-Completion-Id": completionId, "X-Actor": actor },
  });
}

/** Returns an id of the visitor that nobody can guess, kept in a cookie. */
async function actorOf() {
  const jar = await cookies();
  const actor = jar.get("actor")?.value ?? crypto.randomUUID();
  jar.set("actor", actor, { httpOnly: true, sameSite: "lax", maxAge: 365 * 24 * 3600 });
  return actor;
}
