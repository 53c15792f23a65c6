/**
 * Waits. A wait that is `idle` does not keep a process of Node alive.
 *
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @param {boolean} [idle]
 * @returns {Promise<void>}
 */
export function pause(milliseconds: number, signal?: AbortSignal, idle?: boolean): Promise<void>;
export const KEEPALIVE_REQUESTS: 15;
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
    constructor(url: string, key: string | undefined, project: string | undefined, settings: {
        fetch?: typeof fetch;
        timeout: number;
        tries: number;
        retryTime: number;
    });
    url: string;
    key: string | undefined;
    query: string;
    settings: {
        fetch?: typeof fetch;
        timeout: number;
        tries: number;
        retryTime: number;
    };
    /**
     * Sends a request, and sends it again while its failures say nothing about it. Requests are safe to repeat, as they
     * carry ids of the caller.
     *
     * @param {string} method
     * @param {string} path
     * @param {string} body
     * @param {RequestOptions} [options]
     */
    call(method: string, path: string, body: string, options?: RequestOptions): Promise<any>;
    /**
     * Sends a request once and returns the JSON of its answer. A small one of a page outlives the page.
     *
     * @param {string} method
     * @param {string} path
     * @param {string} body
     * @param {RequestOptions} [options]
     * @param {boolean} [mayOutlive]
     */
    attempt(method: string, path: string, body: string, { signal, type }?: RequestOptions, mayOutlive?: boolean): Promise<any>;
}
export type RequestOptions = {
    /**
     * ends the call, and its waiting
     */
    signal?: AbortSignal | undefined;
    /**
     * media type of the body
     */
    type?: string | undefined;
    /**
     * in place of the client's own
     */
    retries?: {
        tries: number;
        retryTime: number;
    } | undefined;
    /**
     * waits between two attempts
     */
    pause?: ((milliseconds: number, signal?: AbortSignal) => Promise<void>) | undefined;
};
