/** A bounded queue of events that are sent in the background. */

import { ThumbwheelError } from "./errors.js";
import { KEEPALIVE_REQUESTS, pause } from "./requests.js";

/** The largest batch; characters take up to three bytes, and the API takes 16 MiB. */
const BATCH_EVENTS = 500;
const BATCH_CHARACTERS = 5_000_000;
const MOST_CHARACTERS = 16_000_000;
/** Milliseconds for which an event waits for others to go with it in one batch. */
const LINGER = 100;
/** Nobody waits in the background, so an outage may last for some minutes. */
const RETRIES = { tries: Infinity, retryTime: 300_000 };
/** Milliseconds for which a process of Node is kept alive. */
const EXIT_TIME = 2_000;

/** @typedef {import("./client.js").FeedbackEvent} FeedbackEvent */
/** @typedef {{event: FeedbackEvent, line: string, sending: boolean, due?: number}} Item `due`: sent then, not before */

export class Queue {
  /** @type {Set<Item>} Events stay here until they are answered, oldest first. */
  #waiting = new Set();
  #characters = 0;
  /** @type {Promise<void> | undefined} */
  #draining;
  #hurry = new AbortController();
  #stop = new AbortController();

  /**
   * @param {import("./requests.js").Requests} requests
   * @param {{batches: boolean, size: number, onError: (error: Error, events: FeedbackEvent[]) => void}} settings
   */
  constructor(requests, { batches, size, onError }) {
    this.requests = requests;
    this.batches = batches;
    this.size = size;
    this.onError = onError;
    if (typeof document === "object") {
      document.addEventListener("visibilitychange", this.#leave);
      addEventListener("pagehide", this.#leave);
    } else {
      globalThis.process?.on?.("beforeExit", this.#exit);
    }
  }

  /** @param {FeedbackEvent} event */
  add(event) {
    try {
      const line = JSON.stringify(event);
      if (this.#waiting.size >= this.size || this.#characters + line.length > MOST_CHARACTERS) {
        throw new ThumbwheelError(`The queue is full: ${this.#waiting.size} events wait. One was dropped.`, {
          code: "queue_full",
        });
      }
      this.#waiting.add({ event, line, sending: false });
      this.#characters += line.length;
      this.#draining ??= this.#drain();
    } catch (error) {
      this.#report(error, [{ event }]);
    }
  }

  /**
   * Sends what waits, and returns whether everything was answered in time.
   *
   * @param {number} timeout
   */
  async flush(timeout) {
    this.#hurry.abort();
    const limit = new AbortController();
    await Promise.race([this.#draining, pause(timeout, limit.signal).catch(() => {})]);
    limit.abort();
    return !this.#waiting.size;
  }

  /** @param {number} timeout */
  async close(timeout) {
    const sent = await this.flush(timeout);
    this.#abandon("closed");
    if (typeof document === "object") {
      document.removeEventListener("visibilitychange", this.#leave);
      removeEventListener("pagehide", this.#leave);
    } else {
      globalThis.process?.off?.("beforeExit", this.#exit);
    }
    return sent;
  }

  async #drain() {
    if (this.batches) {
      this.#hurry = new AbortController();
      await pause(LINGER, this.#hurry.signal, true).catch(() => {});
    }
    while (this.#waiting.size) {
      const items = this.#next();
      if (!items.length) {
        await pause(LINGER, undefined, true); // for the requests of #leave, and for what is not due
        continue;
      }
      for (const item of items) item.due = undefined;
      try {
        await this.#send(items);
      } catch (error) {
        this.#report(error, items.filter((item) => this.#waiting.has(item)));
      }
      this.#remove(items.filter((item) => !item.due));
    }
    this.#draining = undefined;
  }

  #next() {
    const items = [];
    let characters = 0;
    for (const item of this.#waiting) {
      if (item.sending || (item.due && item.due > performance.now())) continue;
      characters += item.line.length;
      if (items.length && (!this.batches || items.length === BATCH_EVENTS || characters > BATCH_CHARACTERS)) break;
      items.push(item);
    }
    return items;
  }

  /** @param {Item[]} items */
  async #send(items) {
    const mark = (/** @type {boolean} */ sending) => items.forEach((item) => (item.sending = sending));
    /** @type {NonNullable<import("./requests.js").RequestOptions["pause"]>} */
    const wait = async (milliseconds, signal) => {
      mark(false);
      await pause(milliseconds, signal, true);
      mark(true);
    };
    const options = { signal: this.#stop.signal, pause: wait, retries: RETRIES };
    mark(true);
    if (!this.batches) {
      await this.requests.call("POST", "/v1/feedback", items[0].line, options);
      return;
    }
    const lines = items.map((item) => item.line).join("\n");
    const type = "application/x-ndjson";
    const receipt = await this.requests.call("POST", "/v1/feedback/batch", lines, { ...options, type });
    for (const { index, status, error, retry_after_seconds } of receipt.items) {
      if (status === "rate_limited") {
        items[index].due = performance.now() + 1_000 * (retry_after_seconds ?? 1);
        items[index].sending = false;
      } else if (error) this.#report(new ThumbwheelError(error, { status: 207, code: status }), [items[index]]);
    }
  }

  /** Sends all waiting events of a page that goes away or may do so, each in a request that outlives the page. */
  #leave = (/** @type {Event} */ { type }) => {
    if (type !== "pagehide" && document.visibilityState !== "hidden") return;
    const items = [...this.#waiting].filter((item) => !item.sending);
    for (const item of items.slice(0, KEEPALIVE_REQUESTS)) {
      item.sending = true;
      this.requests.attempt("POST", "/v1/feedback", item.line).then(
        () => this.#remove([item]),
        () => (item.sending = false),
      );
    }
  };

  /** Keeps a process of Node alive for a moment, while events wait. */
  #exit = async () => {
    if (this.#waiting.size && !(await this.flush(EXIT_TIME))) this.#abandon("the process ends");
  };

  /** @param {string} why */
  #abandon(why) {
    const items = [...this.#waiting];
    this.#remove(items);
    this.#stop.abort();
    this.#stop = new AbortController();
    const message = `${items.length} events were not answered in time (${why}).`;
    this.#report(new ThumbwheelError(message, { code: "not_sent" }), items);
  }

  /** @param {Item[]} items */
  #remove(items) {
    for (const item of items) {
      if (this.#waiting.delete(item)) this.#characters -= item.line.length;
    }
  }

  /**
   * @param {unknown} error
   * @param {{event: FeedbackEvent}[]} lost
   */
  #report(error, lost) {
    if (!lost.length) return;
    const tell = async () => this.onError(/** @type {Error} */ (error), lost.map(({ event }) => event));
    tell().catch((fault) => console.error(fault)); // a rejection that nobody handles would end a process of Node
  }
}
