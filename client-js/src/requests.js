/** Requests with a time-out, and what is sent again. */

import { ThumbwheelError } from "./errors.js";

const FIRST_PAUSE = 200;
const LONGEST_PAUSE = 5_000;
/** Browsers refuse more than 64 KiB, or too many requests, that may outlive their page at a time. */
const KEEPALIVE_BYTES = 60_000;
export const KEEPALIVE_REQUESTS = 15;

const inPage = typeof document === "object";
let outlivingBytes = 0;
let outlivingRequests = 0;

/**
 * @typedef {object} RequestOptions
 * @property {AbortSignal} [signal] ends the call, and its waiting
 * @property {string} [type] media type of the body
 * @property {{tries: number, retryTime: number}} [retries] in place of the client's own
 * @property {(milliseconds: number, signal?: AbortSignal) => Promise<void>} [pause] waits between two attempts
 */

export class Requests {
  /**
   * @param {string} url
   * @param {string | undefined} key
   * @param {string | undefined} project
   * @param {{fetch?: typeof fetch, timeout: number, tries: number, retryTime: number}} settings
   */
  constructor(url, key, project, settings) {
    requireUsable(url, key);
    this.url = url.replace(/\/+$/, "");
    this.key = key;
    this.query = project ? `?project=${encodeURIComponent(project)}` : "";
    this.settings = settings;
  }

  /**
   * Sends a request, and sends it again while its failures say nothing about it. Requests are safe to repeat, as they
   * carry ids of the caller.
   *
   * @param {string} method
   * @param {string} path
   * @param {string} body
   * @param {RequestOptions} [options]
   */
  async call(method, path, body, options = {}) {
    const { signal, pause: wait = pause } = options;
    const { tries, retryTime } = { ...this.settings, ...options.retries };
    const started = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.attempt(method, path, body, options, attempt === 1);
      } catch (error) {
        if (!(error instanceof ThumbwheelError)) throw error;
        error.attempts = attempt;
        const backoff = Math.min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * (0.5 + Math.random() / 2);
        const milliseconds = 1_000 * (error.retryAfter ?? 0) + backoff;
        const late = performance.now() - started + milliseconds > retryTime;
        if (!error.transient || attempt >= tries || late) throw error;
        await wait(milliseconds, signal);
      }
    }
  }

  /**
   * Sends a request once and returns the JSON of its answer. A small one of a page outlives the page.
   *
   * @param {string} method
   * @param {string} path
   * @param {string} body
   * @param {RequestOptions} [options]
   * @param {boolean} [mayOutlive]
   */
  async attempt(method, path, body, { signal, type = "application/json" } = {}, mayOutlive = true) {
    signal?.throwIfAborted();
    const url = this.url + path + this.query;
    const { timeout, fetch = globalThis.fetch } = this.settings;
    const controller = new AbortController();
    const abort = () => controller.abort();
    const timer = setTimeout(abort, timeout);
    signal?.addEventListener("abort", abort);
    const bytes = inPage && mayOutlive ? new TextEncoder().encode(body).length : Infinity;
    const keepalive = outlivingBytes + bytes <= KEEPALIVE_BYTES && outlivingRequests < KEEPALIVE_REQUESTS;
    if (keepalive) {
      outlivingBytes += bytes;
      outlivingRequests++;
    }
    try {
      const response = await fetch(url, {
        method,
        body,
        headers: { "Content-Type": type, ...(this.key && { Authorization: `Bearer ${this.key}` }) },
        signal: controller.signal,
        ...(keepalive && { keepalive }),
      });
      return answerOf(response, await response.text());
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof ThumbwheelError) throw cause;
      const { cause: origin = cause } = /** @type {Error} */ (cause); // Node says there what happened
      const reason = controller.signal.aborted ? `no answer within ${timeout} ms` : String(origin);
      const hint = inPage && this.key?.startsWith("tw_") ? " A page of another origin needs a browser key (twb_…)." : "";
      throw new ThumbwheelError(`${url} does not answer (${reason}).${hint}`, { code: "unreachable", cause });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      if (keepalive) {
        outlivingBytes -= bytes;
        outlivingRequests--;
      }
    }
  }
}

/**
 * Throws for an address or a key with which no request can be made. In a page, the address may be a path.
 *
 * @param {string} url
 * @param {string | undefined} key
 */
function requireUsable(url, key) {
  let protocol;
  try {
    ({ protocol } = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href));
  } catch {
    // said below
  }
  if (!protocol?.startsWith("http")) throw new TypeError(`url: expected an address such as https://host, got '${url}'.`);
  if (key && !/^[\x21-\x7e]+$/.test(key)) throw new TypeError("key: a key has ASCII characters alone, and no spaces.");
}

/**
 * Waits. A wait that is `idle` does not keep a process of Node alive.
 *
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @param {boolean} [idle]
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal, idle = false) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    if (idle && typeof timer === "object") timer.unref();
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}

/**
 * Returns the JSON of a success. Throws `ThumbwheelError` for any other answer.
 *
 * @param {Response} response
 * @param {string} text
 */
function answerOf(response, text) {
  const { status, url, headers } = response;
  const retryAfter = secondsIn(headers);
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    // The answer comes from a proxy, or from another server at that address.
  }
  if (response.ok && answer) return answer;
  if (answer?.code && answer.detail) {
    throw new ThumbwheelError(answer.detail, { status, code: answer.code, problem: answer, retryAfter });
  }
  const code = response.ok ? "not_json" : `http_${status}`;
  throw new ThumbwheelError(`${url} answered ${status} without JSON of Thumbwheel.`, { status, code, retryAfter });
}

/**
 * Returns the seconds in `Retry-After`; a date in it counts from the server's own clock where that can be read.
 *
 * @param {Headers} headers
 */
function secondsIn(headers) {
  const value = headers.get("Retry-After");
  if (!value) return undefined;
  if (/^\d+$/.test(value)) return Number(value);
  const until = Date.parse(value) - (Date.parse(headers.get("Date") ?? "") || Date.now());
  return Number.isNaN(until) ? undefined : Math.max(0, until / 1_000);
}
