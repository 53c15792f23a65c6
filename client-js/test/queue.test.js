import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Thumbwheel } from "../src/client.js";
import { problem, standIn, stored } from "./stand-in.js";

/** @type {(() => unknown)[]} */
const closing = [];
after(() => Promise.all(closing.map((close) => close())));

/** @param {string} completion_id */
function up(completion_id) {
  return { completion_id, actor: "u", signal: /** @type {const} */ ({ kind: "thumbs", value: "up" }) };
}

/**
 * @param {Parameters<typeof standIn>[0]} answer
 * @param {import("../src/client.js").Options} [options]
 */
async function queueing(answer, options) {
  const server = await standIn(answer);
  /** @type {[string | undefined, number][]} */
  const lost = [];
  const onError = (/** @type {any} */ error, /** @type {unknown[]} */ events) => lost.push([error.code, events.length]);
  const thumbwheel = new Thumbwheel({ url: server.url, key: "tw_secret", onError, ...options });
  closing.push(() => thumbwheel.close({ timeout: 0 }), () => server.close());
  return { thumbwheel, received: server.received, lost };
}

test("queued events go in one batch, with the ids that enqueue returned", async () => {
  const { thumbwheel, received, lost } = await queueing(stored);

  const ids = ["a", "b", "c"].map((id) => thumbwheel.enqueue(up(id)));
  const sent = await thumbwheel.down("d", { actor: "u" }, { queue: true });
  assert.equal(sent.status, "queued");

  assert.equal(await thumbwheel.flush(), true);
  assert.equal(received.length, 1);
  const lines = received[0].body.split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ event_id }) => event_id), [...ids, sent.event_id]);
  assert.deepEqual(lost, []);
});

test("a browser key's queue sends single events in their order", async () => {
  const { thumbwheel, received } = await queueing(stored, { key: "twb_public" });

  ["a", "b", "c"].map((id) => thumbwheel.enqueue(up(id)));
  await thumbwheel.flush();

  assert.deepEqual(received.map(({ path, body }) => [path, JSON.parse(body).completion_id]), [
    ["/v1/feedback", "a"], ["/v1/feedback", "b"], ["/v1/feedback", "c"],
  ]);
});

test("an event is sent as it was when it was queued", async () => {
  const { thumbwheel, received } = await queueing(stored);
  const event = up("a");

  thumbwheel.enqueue(event);
  event.completion_id = "changed later";
  await thumbwheel.flush();

  assert.equal(JSON.parse(received[0].body).completion_id, "a");
});

test("enqueue never throws: a full queue and what is no JSON are reported", async () => {
  const { thumbwheel, lost } = await queueing(() => ({ hang: true }), { queueSize: 2 });

  for (const id of ["a", "b", "c"]) thumbwheel.enqueue(up(id));
  const unsendable = { ...up("d"), metadata: { amount: 1n } };
  thumbwheel.enqueue(unsendable);
  // @ts-expect-error what a product that is written without types may pass
  await thumbwheel.down("e", undefined, { queue: true });

  assert.deepEqual(lost, [["queue_full", 1], [undefined, 1], ["queue_full", 1]]);
});

test("what the API refuses is reported, and the rest is sent", async () => {
  const { thumbwheel, lost } = await queueing(({ body }) => {
    const items = body.split("\n").map((line, index) => ({ index, status: "stored", event_id: JSON.parse(line).event_id }));
    Object.assign(items[1], { status: "invalid", error: "/actor: too short" });
    return { status: 207, json: { stored: 1, replayed: 0, rejected: 1, items } };
  });

  thumbwheel.enqueue(up("a"));
  thumbwheel.enqueue({ ...up("b"), actor: "" });

  assert.equal(await thumbwheel.flush(), true);
  assert.deepEqual(lost, [["invalid", 1]]);
});

test("a refused batch is reported once, an error in onError is none of the product's", async (t) => {
  const printed = t.mock.method(console, "error", () => {});
  const fail = () => {
    throw new Error("the handler itself is broken");
  };
  const { thumbwheel } = await queueing(() => problem(401, "unauthorized"), { onError: fail });

  thumbwheel.enqueue(up("a"));
  thumbwheel.enqueue(up("b"));

  assert.equal(await thumbwheel.flush(), true);
  assert.equal(printed.mock.callCount(), 1);
});

test("an outage is waited for, and nothing is sent twice under another id", async () => {
  const { thumbwheel, received, lost } = await queueing((received, count) =>
    count < 3 ? problem(503, "unavailable") : stored(received),
  );

  const id = thumbwheel.enqueue(up("a"));

  assert.equal(await thumbwheel.flush(), true);
  assert.deepEqual(received.map(({ body }) => JSON.parse(body).event_id), [id, id, id]);
  assert.deepEqual(lost, []);
});

test("flush and close return after their time-out, and close reports what it drops", async () => {
  const { thumbwheel, lost } = await queueing(() => ({ hang: true }));

  thumbwheel.enqueue(up("a"));

  assert.equal(await thumbwheel.flush({ timeout: 20 }), false);
  assert.equal(await thumbwheel.close({ timeout: 20 }), false);
  await sleep(20);
  assert.deepEqual(lost, [["not_sent", 1]]);
});

test("a process that ends sends what waits, and does not wait for a dead server for long", async () => {
  const [server, gone] = await Promise.all([standIn(stored), standIn(stored)]);
  closing.push(() => server.close());
  gone.close();
  const module = JSON.stringify(new URL("../src/client.js", import.meta.url));
  const program = (/** @type {string} */ url) => `
    import { Thumbwheel } from ${module};
    new Thumbwheel({ url: "${url}", key: "tw_x" }).enqueue(${JSON.stringify(up("last"))});`;
  const run = (/** @type {string} */ url) =>
    promisify(execFile)(process.execPath, ["--input-type=module", "-e", program(url)]);

  const started = performance.now();
  const [, dead] = await Promise.all([run(server.url), run(gone.url)]);

  assert.equal(JSON.parse(server.received[0].body).completion_id, "last");
  assert.match(dead.stderr, /1 events were not answered in time \(the process ends\)/);
  assert.ok(performance.now() - started < 9_000);
});

test("events above the limit of their actor are sent again later, and hold up nobody", async () => {
  const { thumbwheel, received, lost } = await queueing((request, count) => {
    const answer = stored(request);
    const [first] = /** @type {any} */ (answer.json).items;
    if (count === 1) Object.assign(first, { status: "rate_limited", error: "Too many.", retry_after_seconds: 0.05 });
    return answer;
  });

  const ids = ["a", "b"].map((id) => thumbwheel.enqueue(up(id)));
  assert.equal(await thumbwheel.flush(), true);

  const sent = received.map(({ body }) => body.split("\n").map((line) => JSON.parse(line).event_id));
  assert.deepEqual(sent, [ids, [ids[0]]]);
  assert.deepEqual(lost, []);
});

test("a fault of an asynchronous onError does not end the process", async (context) => {
  const { mock } = context.mock.method(console, "error", () => {});
  const fault = new Error("a fault of the product's own");
  const { thumbwheel } = await queueing(() => problem(401, "unauthorized"), { onError: () => Promise.reject(fault) });

  thumbwheel.enqueue(up("a"));
  assert.equal(await thumbwheel.flush(), true);

  assert.deepEqual(mock.calls.map((call) => call.arguments), [[fault]]);
});
