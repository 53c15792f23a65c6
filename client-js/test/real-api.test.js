/**
 * The client against a real API, which the tests of the service start and name: `THUMBWHEEL_URL`, `THUMBWHEEL_API_KEY`,
 * and `BROWSER_KEY` for pages of `BROWSER_ORIGIN`. They look at what was stored.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Thumbwheel } from "../src/client.js";

const { THUMBWHEEL_URL, BROWSER_KEY, BROWSER_ORIGIN = "" } = process.env;
const skip = THUMBWHEEL_URL ? false : "no THUMBWHEEL_URL: tests/client_js runs this against an API";
const up = /** @type {const} */ ({ kind: "thumbs", value: "up" });

/** Sends as a page does; a browser would not let a page choose its origin. @type {typeof fetch} */
const fromPage = (input, init) => fetch(input, { ...init, headers: { ...init?.headers, Origin: BROWSER_ORIGIN } });

test("a server registers a completion and sends every signal", { skip }, async () => {
  const thumbwheel = new Thumbwheel();
  const fields = { actor: "u1" };

  const completion = { prompt: [{ role: /** @type {const} */ ("user"), content: "Hi" }], completion: "Hello" };
  assert.equal((await thumbwheel.registerCompletion("m/1", completion)).status, "stored");
  assert.equal((await thumbwheel.registerCompletion("m/1", completion)).status, "replayed");
  const vote = await thumbwheel.up("m/1", { ...fields, event_id: "vote", comment: "Friendly." });
  assert.deepEqual(vote, { event_id: "vote", status: "stored" });
  assert.equal((await thumbwheel.up("m/1", { ...fields, event_id: "vote" })).status, "replayed");
  await thumbwheel.edit("m/1", "Hello!", { ...fields, event_id: "edit" });
  await thumbwheel.rate("m/1", 4, { ...fields, event_id: "stars" });
  await thumbwheel.retract("m/1", { ...fields, event_id: "undo", supersedes: "vote" });
  await thumbwheel.feedback("m/1", { kind: "outcome", name: "solved", value: true }, { ...fields, event_id: "fact" });
  await assert.rejects(thumbwheel.down("m/1", { ...fields, event_id: "vote" }), { status: 409, code: "event_id_taken" });
});

test("a server's batch and queue are stored but for what is faulty", { skip }, async () => {
  /** @type {string[]} */
  const lost = [];
  const thumbwheel = new Thumbwheel({ onError: (error) => lost.push(error.message) });

  const receipt = await thumbwheel.sendBatch([
    { event_id: "b1", completion_id: "m/2", actor: "u1", signal: up },
    { event_id: "b2", completion_id: "m/2", actor: "", signal: up },
  ]);
  assert.deepEqual(receipt.items.map(({ status }) => status), ["stored", "invalid"]);
  thumbwheel.enqueue({ event_id: "q1", completion_id: "m/2", actor: "u2", signal: up });
  thumbwheel.enqueue({ event_id: "q2", completion_id: "", actor: "u2", signal: up });
  assert.equal(await thumbwheel.close(), true);
  assert.equal(lost.length, 1);
  assert.match(lost[0], /completion_id/);
});

test("a page sends thumbs and a queue, and no text of a model", { skip }, async () => {
  const thumbwheel = new Thumbwheel({ key: BROWSER_KEY, fetch: fromPage, retryTime: 0 });

  await thumbwheel.down("m/3", { actor: "u3", event_id: "p1" });
  thumbwheel.enqueue({ event_id: "p2", completion_id: "m/3", actor: "u3", signal: up, supersedes: "p1" });
  assert.equal(await thumbwheel.close(), true);
  const text = thumbwheel.up("m/3", { actor: "u3", prompt: "p", completion: "c" });
  await assert.rejects(text, ({ code, errors }) => code === "not_from_a_browser" && errors[0].pointer === "/prompt");
  const elsewhere = new Thumbwheel({ key: BROWSER_KEY });
  await assert.rejects(elsewhere.up("m/3", { actor: "u3" }), { status: 403, code: "other_origin" });
});
