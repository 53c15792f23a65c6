import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Thumbwheel, ThumbwheelError, newId } from "../src/client.js";
import { problem, standIn, stored } from "./stand-in.js";

/** @type {{close(): void}[]} */
const opened = [];
after(() => opened.forEach((server) => server.close()));

/**
 * @param {Parameters<typeof standIn>[0]} answer
 * @param {import("../src/client.js").Options} [options]
 */
async function client(answer, options) {
  const server = await standIn(answer);
  opened.push(server);
  const thumbwheel = new Thumbwheel({ url: `${server.url}/`, key: "tw_secret", timeout: 2_000, ...options });
  return { thumbwheel, received: server.received, bodies: () => server.received.map(({ body }) => JSON.parse(body)) };
}

test("a thumb carries key, project, ids and no unset fields", async () => {
  const { thumbwheel, received, bodies } = await client(stored, { project: "support desk" });

  const sent = await thumbwheel.up("msg-1042", { actor: "user-77" });

  assert.equal(received[0].path, "/v1/feedback?project=support%20desk");
  assert.equal(received[0].headers.authorization, "Bearer tw_secret");
  assert.equal(received[0].headers["content-type"], "application/json");
  assert.deepEqual(bodies(), [
    { actor: "user-77", completion_id: "msg-1042", signal: { kind: "thumbs", value: "up" }, event_id: sent.event_id },
  ]);
  assert.match(sent.event_id, /^[0-9a-f-]{36}$/);
});

test("a comment on a thumb is an event of its own, whose id follows from the thumb's", async () => {
  const { thumbwheel, bodies } = await client(stored);

  await thumbwheel.down("m", { actor: "u", comment: "Wrong.", event_id: "e", prompt: "p", completion: "c", never_train: true });

  const [thumb, comment] = bodies();
  assert.deepEqual([thumb.signal, thumb.event_id, thumb.prompt], [{ kind: "thumbs", value: "down" }, "e", "p"]);
  assert.deepEqual(comment, {
    completion_id: "m", actor: "u", signal: { kind: "comment", text: "Wrong." }, event_id: "e-comment", never_train: true,
  });
});

test("edits, ratings, retractions and any other signal are sent by their names on the wire", async () => {
  const { thumbwheel, bodies } = await client(stored);

  await thumbwheel.edit("m", "Better.", { actor: "u" });
  await thumbwheel.rate("m", 4, { actor: "u" });
  await thumbwheel.rate("m", 9, { actor: "u", minimum: 0, maximum: 10, metadata: { page: "help" } });
  await thumbwheel.retract("m", { actor: "u", supersedes: "e" });
  await thumbwheel.send({ completion_id: "m", actor: "u", signal: { kind: "flag", flags: ["unsafe"] } });

  assert.deepEqual(bodies().map(({ signal }) => signal), [
    { kind: "edit", text: "Better." }, { kind: "rating", value: 4 },
    { kind: "rating", value: 9, minimum: 0, maximum: 10 }, { kind: "retract" }, { kind: "flag", flags: ["unsafe"] },
  ]);
  assert.deepEqual(bodies()[2].metadata, { page: "help" });
  assert.equal(bodies()[3].supersedes, "e");
});

test("a request that gets no answer, a 503 or a 429 is sent again with the same id", async () => {
  const answers = [{ status: 0 }, problem(503, "unavailable"), problem(429, "rate_limited", { "Retry-After": "0" })];
  const { thumbwheel, bodies } = await client((received, count) => answers[count - 1] ?? stored(received));

  const sent = await thumbwheel.up("m", { actor: "u" });

  assert.equal(bodies().length, 4);
  assert.deepEqual(new Set(bodies().map(({ event_id }) => event_id)), new Set([sent.event_id]));
});

test("a refusal has the fields of the problem and is not sent again", async () => {
  const { thumbwheel, received } = await client(() => problem(422, "invalid_request"));

  const error = await thumbwheel.up("m", { actor: "" }).catch((caught) => caught);

  assert.ok(error instanceof ThumbwheelError);
  assert.equal(error.message, "Refused: invalid_request.");
  const { status, code, title, details, errors, attempts, transient } = error;
  assert.deepEqual({ status, code, title, details, errors, attempts, transient }, {
    status: 422, code: "invalid_request", title: "A title", details: { a: 1 }, errors: [], attempts: 1, transient: false,
  });
  assert.equal(received.length, 1);
});

test("a wait that Retry-After makes too long ends the call at once", async () => {
  const answer = () => problem(429, "rate_limited", { "Retry-After": "41" });
  const { thumbwheel, received } = await client(answer, { retryTime: 8_000 });
  const started = performance.now();

  await assert.rejects(thumbwheel.up("m", { actor: "u" }), { code: "rate_limited", retryAfter: 41, attempts: 1 });

  assert.ok(performance.now() - started < 2_000);
  assert.equal(received.length, 1);
});

test("a date in Retry-After counts from the server's clock", async () => {
  const headers = { "Retry-After": "Mon, 01 Jan 2024 00:00:30 GMT", Date: "Mon, 01 Jan 2024 00:00:00 GMT" };
  const { thumbwheel } = await client(() => problem(503, "unavailable", headers), { tries: 1 });

  await assert.rejects(thumbwheel.up("m", { actor: "u" }), { retryAfter: 30 });
});

test("a silent server is given up after the time-out and the tries", async () => {
  const { thumbwheel, received } = await client(() => ({ hang: true }), { timeout: 50, tries: 2 });

  await assert.rejects(thumbwheel.up("m", { actor: "u" }), {
    code: "unreachable", status: 0, attempts: 2, message: /does not answer \(no answer within 50 ms\)/,
  });
  assert.equal(received.length, 2);
});

test("another server at the address is named, whatever it answers", async () => {
  const { thumbwheel } = await client(() => ({ status: 200, text: "<!doctype html>" }));
  const { thumbwheel: other } = await client(() => ({ status: 404, text: "no such page" }));

  await assert.rejects(thumbwheel.up("m", { actor: "u" }), { code: "not_json", status: 200 });
  await assert.rejects(other.up("m", { actor: "u" }), { code: "http_404", status: 404 });
});

test("an AbortSignal ends a request and a wait with its reason", async () => {
  const { thumbwheel: silent } = await client(() => ({ hang: true }));
  const { thumbwheel: refusing } = await client(() => problem(503, "unavailable", { "Retry-After": "20" }));
  const given = () => AbortSignal.timeout(60);

  await assert.rejects(silent.up("m", { actor: "u" }, { signal: given() }), { name: "TimeoutError" });
  await assert.rejects(refusing.up("m", { actor: "u" }, { signal: given() }), { name: "TimeoutError" });
  await assert.rejects(silent.up("m", { actor: "u" }, { signal: AbortSignal.abort("left") }), (reason) => reason === "left");
});

test("batches are cut, and their receipts counted together", async () => {
  const { thumbwheel, received } = await client(stored);
  const events = Array.from({ length: 501 }, () => ({ completion_id: "m", actor: "u", signal: thumb }));

  const receipt = await thumbwheel.sendBatch(events);

  assert.deepEqual(received.map(({ body }) => body.split("\n").length), [500, 1]);
  assert.equal(received[0].headers["content-type"], "application/x-ndjson");
  assert.equal(receipt.stored, 501);
  assert.deepEqual(receipt.items.map(({ index }) => index), events.map((_, index) => index));
});

test("a completion is registered under its id", async () => {
  const { thumbwheel, received, bodies } = await client(() => ({ json: { completion_id: "a/b", status: "stored" } }));

  await thumbwheel.registerCompletion("a/b", { prompt: "p", completion: "c" });

  assert.deepEqual([received[0].method, received[0].path], ["PUT", "/v1/completions/a%2Fb"]);
  assert.deepEqual(bodies(), [{ prompt: "p", completion: "c" }]);
});

test("many completions are registered in few requests, and their results keep their places", async () => {
  const { thumbwheel, received } = await client(stored);
  const completions = Array.from({ length: 501 }, (_, number) => ({
    completion_id: `m${number}`,
    prompt: "p",
    completion: "c",
  }));

  const receipt = await thumbwheel.registerCompletions(completions);

  assert.deepEqual(received.map(({ path, body }) => [path, body.split("\n").length]), [
    ["/v1/completions/batch", 500],
    ["/v1/completions/batch", 1],
  ]);
  assert.equal(receipt.stored, 501);
  assert.deepEqual(receipt.items.map(({ index }) => index), completions.map((_, index) => index));
});

test("a browser key is kept from what it cannot open", async () => {
  const { thumbwheel, received } = await client(stored, { key: "twb_public" });

  await assert.rejects(thumbwheel.sendBatch([]), /single events only/);
  await assert.rejects(thumbwheel.registerCompletion("m", { prompt: "p", completion: "c" }), /single events only/);
  await assert.rejects(thumbwheel.registerCompletions([]), /single events only/);
  assert.equal(received.length, 0);
});

test("address, key and project come from the environment where none are given", async (t) => {
  const server = await standIn(stored);
  opened.push(server);
  const given = { THUMBWHEEL_URL: server.url, THUMBWHEEL_API_KEY: "tw_env", THUMBWHEEL_PROJECT: "desk" };
  const before = process.env;
  process.env = { ...before, ...given };
  t.after(() => (process.env = before));

  await new Thumbwheel().up("m", { actor: "u" });

  assert.equal(server.received[0].path, "/v1/feedback?project=desk");
  assert.equal(server.received[0].headers.authorization, "Bearer tw_env");
  process.env = {};
  assert.throws(() => new Thumbwheel({ key: "tw_x" }), /needs a url/);
});

test("ids are made without crypto.randomUUID, too", (t) => {
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
  t.after(() => Reflect.deleteProperty(crypto, "randomUUID"));

  assert.match(newId(), /^[0-9a-f]{32}$/);
});

const thumb = /** @type {const} */ ({ kind: "thumbs", value: "up" });

test("an address or a key with which no request can be made is refused when the client is made", () => {
  for (const url of ["127.0.0.1:8000", "localhost:8000", "not an address"]) {
    assert.throws(() => new Thumbwheel({ url, key: "tw_secret" }), /^TypeError: url: expected an address/);
  }
  assert.throws(() => new Thumbwheel({ url: "http://127.0.0.1", key: "tw_…" }), /^TypeError: key: /); // as documented
});
