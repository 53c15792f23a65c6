/**
 * The client of Thumbwheel for pages and servers.
 *
 *     const thumbwheel = new Thumbwheel({ url: "https://feedback.example.com", key: "twb_…" });
 *     await thumbwheel.down("msg-1042", { actor: "user-77", comment: "That is not my parcel." });
 */

import { ThumbwheelError } from "./errors.js";
import { Queue } from "./queue.js";
import { Requests } from "./requests.js";

export { ThumbwheelError };

/** The largest batch, in items and in characters: well below the limits of the API. */
const BATCH_ITEMS = 500;
const BATCH_CHARACTERS = 4_000_000;

/** @typedef {import("../types/api.js").components["schemas"]} Schemas */
/** @typedef {Schemas["Event"]} FeedbackEvent */
/** @typedef {FeedbackEvent["signal"]} Signal */
/** @typedef {Omit<FeedbackEvent, "completion_id" | "signal">} Fields */
/** @typedef {Schemas["Completion"]} Completion */
/** @typedef {Schemas["IdentifiedCompletion"]} IdentifiedCompletion */
/** @typedef {Schemas["EventReceipt"]} EventReceipt */
/** @typedef {Schemas["BatchReceipt"]} BatchReceipt */
/** @typedef {Schemas["CompletionReceipt"]} CompletionReceipt */
/** @typedef {Schemas["CompletionBatchReceipt"]} CompletionBatchReceipt */
/** @typedef {import("./errors.js").Problem} Problem */
/** @typedef {{event_id: string, status: EventReceipt["status"] | "queued"}} Sent */
/** @typedef {{signal?: AbortSignal}} CallOptions */
/** @typedef {CallOptions & {queue?: boolean}} SendOptions `queue`: return at once, and send in the background */

/**
 * @typedef {object} Options
 * @property {string} [url] address of the API; in Node, `THUMBWHEEL_URL` if it is left out
 * @property {string} [key] a browser key in pages, a server's key on servers; in Node, `THUMBWHEEL_API_KEY`
 * @property {string} [project] needed with a key of all projects; in Node, `THUMBWHEEL_PROJECT`
 * @property {typeof globalThis.fetch} [fetch] sends the requests
 * @property {number} [timeout] milliseconds after which an attempt fails
 * @property {number} [tries] attempts of one call; in the background there is no such limit
 * @property {number} [retryTime] milliseconds after which no further attempt begins; in the background, five minutes
 * @property {number} [queueSize] events that may wait in the background; later ones are dropped
 * @property {(error: Error, events: FeedbackEvent[]) => void} [onError] is called with queued events that are lost
 */

export class Thumbwheel {
  #requests;
  #browser;
  #settings;
  /** @type {Queue | undefined} */
  #queue;

  /** @param {Options} [options] */
  constructor(options = {}) {
    const environment = globalThis.process?.env ?? {};
    const {
      url = environment.THUMBWHEEL_URL,
      key = environment.THUMBWHEEL_API_KEY,
      project = environment.THUMBWHEEL_PROJECT,
      timeout = 10_000,
      tries = 5,
      retryTime = 30_000,
      queueSize = 1_000,
      onError = (/** @type {Error} */ error) => console.warn(String(error)),
    } = options;
    if (!url) throw new TypeError("Thumbwheel needs a url: the address of its API.");
    this.#requests = new Requests(url, key, project, { fetch: options.fetch, timeout, tries, retryTime });
    this.#browser = !!key?.startsWith("twb_");
    this.#settings = { batches: !!key && !this.#browser, size: queueSize, onError };
  }

  /**
   * Sends one event, and returns once it is committed. An event without an id gets one, so that a retry stores nothing
   * twice.
   *
   * @param {FeedbackEvent} event
   * @param {SendOptions} [options]
   * @returns {Promise<Sent>}
   */
  async send(event, { signal, queue } = {}) {
    if (queue) return { event_id: this.enqueue(event), status: "queued" };
    return this.#requests.call("POST", "/v1/feedback", JSON.stringify(withId(event)), { signal });
  }

  /**
   * Sends events in few requests. Faulty items are reported in the receipt; all others are stored. Browser keys open
   * single events only.
   *
   * @param {FeedbackEvent[]} events
   * @param {CallOptions} [options]
   * @returns {Promise<BatchReceipt>}
   */
  async sendBatch(events, options) {
    return this.#sendAll("/v1/feedback/batch", events.map(withId), options);
  }

  /**
   * Stores a prompt and its completion, so that events can refer to them by the id alone. Browser keys cannot.
   *
   * @param {string} completionId
   * @param {Completion} completion
   * @param {CallOptions} [options]
   * @returns {Promise<CompletionReceipt>}
   */
  async registerCompletion(completionId, completion, { signal } = {}) {
    this.#requireServerKey();
    const path = `/v1/completions/${encodeURIComponent(completionId)}`;
    return this.#requests.call("PUT", path, JSON.stringify(completion), { signal });
  }

  /**
   * Registers completions in few requests. Faulty ones are reported in the receipt; all others are stored.
   *
   * @param {IdentifiedCompletion[]} completions
   * @param {CallOptions} [options]
   * @returns {Promise<CompletionBatchReceipt>}
   */
  async registerCompletions(completions, options) {
    return this.#sendAll("/v1/completions/batch", completions, options);
  }

  /**
   * Sends any signal.
   *
   * @param {string} completionId
   * @param {Signal} signal
   * @param {Fields} fields
   * @param {SendOptions} [options]
   */
  feedback(completionId, signal, fields, options) {
    return this.send({ ...fields, completion_id: completionId, signal }, options);
  }

  /**
   * @param {string} completionId
   * @param {Fields & {comment?: string}} fields
   * @param {SendOptions} [options]
   */
  up(completionId, fields, options) {
    return this.#thumb("up", completionId, fields, options);
  }

  /**
   * @param {string} completionId
   * @param {Fields & {comment?: string}} fields
   * @param {SendOptions} [options]
   */
  down(completionId, fields, options) {
    return this.#thumb("down", completionId, fields, options);
  }

  /**
   * Sends the text that the user made of a completion.
   *
   * @param {string} completionId
   * @param {string} text
   * @param {Fields} fields
   * @param {SendOptions} [options]
   */
  edit(completionId, text, fields, options) {
    return this.feedback(completionId, { kind: "edit", text }, fields, options);
  }

  /**
   * Sends a rating: stars from 1 to 5, or a value on another scale.
   *
   * @param {string} completionId
   * @param {number} value
   * @param {Fields & {minimum?: number, maximum?: number}} fields
   * @param {SendOptions} [options]
   */
  rate(completionId, value, fields, options) {
    const { minimum, maximum, ...others } = fields ?? {};
    return this.feedback(completionId, { kind: "rating", value, minimum, maximum }, others, options);
  }

  /**
   * @param {string} completionId
   * @param {string} text
   * @param {Fields} fields
   * @param {SendOptions} [options]
   */
  comment(completionId, text, fields, options) {
    return this.feedback(completionId, { kind: "comment", text }, fields, options);
  }

  /**
   * Takes back the event that `supersedes` names, or without it all earlier events of the actor about the completion.
   *
   * @param {string} completionId
   * @param {Fields} fields
   * @param {SendOptions} [options]
   */
  retract(completionId, fields, options) {
    return this.feedback(completionId, { kind: "retract" }, fields, options);
  }

  /**
   * Sends an event in the background and returns its id. Never throws: `onError` is called with events that are lost.
   *
   * @param {FeedbackEvent} event
   */
  enqueue(event) {
    const identified = withId(event);
    this.#queue ??= new Queue(this.#requests, this.#settings);
    this.#queue.add(identified);
    return identified.event_id;
  }

  /**
   * Waits until the queue is empty, and returns whether it is.
   *
   * @param {{timeout?: number}} [options] milliseconds
   */
  async flush({ timeout = 10_000 } = {}) {
    return (await this.#queue?.flush(timeout)) ?? true;
  }

  /**
   * Flushes the queue, drops what is still in it, and removes its listeners.
   *
   * @param {{timeout?: number}} [options] milliseconds
   */
  async close({ timeout = 10_000 } = {}) {
    const sent = (await this.#queue?.close(timeout)) ?? true;
    this.#queue = undefined;
    return sent;
  }

  /**
   * @param {string} path
   * @param {object[]} items
   * @param {CallOptions} [options]
   */
  async #sendAll(path, items, { signal } = {}) {
    this.#requireServerKey();
    /** @type {{stored: number, replayed: number, rejected: number, items: any[]}} */
    const whole = { stored: 0, replayed: 0, rejected: 0, items: [] };
    for (const lines of batches(items.map((item) => JSON.stringify(item)))) {
      const part = await this.#requests.call("POST", path, lines.join("\n"), { type: "application/x-ndjson", signal });
      const first = whole.items.length;
      for (const item of part.items) whole.items.push({ ...item, index: item.index + first });
      whole.stored += part.stored;
      whole.replayed += part.replayed;
      whole.rejected += part.rejected;
    }
    return whole;
  }

  /** A page could not read the API's own refusal. */
  #requireServerKey() {
    if (this.#browser) throw new TypeError("A browser key opens single events only: use send() or enqueue().");
  }

  /**
   * @param {"up" | "down"} value
   * @param {string} completionId
   * @param {Fields & {comment?: string}} fields
   * @param {SendOptions} [options]
   */
  async #thumb(value, completionId, fields, options) {
    const { comment, ...others } = fields ?? {};
    const sent = await this.feedback(completionId, { kind: "thumbs", value }, others, options);
    if (comment) {
      const { actor, occurred_at, never_train } = others;
      const event_id = `${sent.event_id}-comment`;
      await this.comment(completionId, comment, { actor, occurred_at, never_train, event_id }, options);
    }
    return sent;
  }
}

/**
 * Returns a new id; `crypto.randomUUID` is missing in pages without TLS.
 *
 * @returns {string}
 */
export function newId() {
  const bytes = () => [...crypto.getRandomValues(new Uint8Array(16))];
  return crypto.randomUUID?.() ?? bytes().map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {FeedbackEvent} event */
function withId(event) {
  return { ...event, event_id: event?.event_id ?? newId() };
}

/** @param {string[]} lines */
function* batches(lines) {
  /** @type {string[]} */
  let batch = [];
  let characters = 0;
  for (const line of lines) {
    if (batch.length && (batch.length === BATCH_ITEMS || characters + line.length > BATCH_CHARACTERS)) {
      yield batch;
      batch = [];
      characters = 0;
    }
    batch.push(line);
    characters += line.length;
  }
  if (batch.length) yield batch;
}
