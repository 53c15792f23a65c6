/** @typedef {import("../types/api.js").components["schemas"]["Problem"]} Problem */

/**
 * The API refused a call, or gave no answer.
 *
 * `message` is the answer's `detail`: what happened, and the remedy. `status` is 0 where no answer arrived; then
 * `code` is `unreachable` and `cause` says why. `retryAfter` is in seconds.
 */
export class ThumbwheelError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code: string, problem?: Partial<Problem>, retryAfter?: number, cause?: unknown}} facts
   */
  constructor(message, { status = 0, code, problem = {}, retryAfter, cause }) {
    super(message, { cause });
    this.name = "ThumbwheelError";
    this.status = status;
    this.code = code;
    this.title = problem.title;
    this.errors = problem.errors ?? [];
    this.details = problem.details ?? {};
    this.problem = problem;
    this.retryAfter = retryAfter;
    this.attempts = 1;
  }

  /** Whether the failure says nothing about the request itself, so that the same body may be sent again. */
  get transient() {
    return this.code === "unreachable" || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}
