/**
 * Returns a new id; `crypto.randomUUID` is missing in pages without TLS.
 *
 * @returns {string}
 */
export function newId(): string;
export { ThumbwheelError };
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
    /** @param {Options} [options] */
    constructor(options?: Options);
    /**
     * Sends one event, and returns once it is committed. An event without an id gets one, so that a retry stores nothing
     * twice.
     *
     * @param {FeedbackEvent} event
     * @param {SendOptions} [options]
     * @returns {Promise<Sent>}
     */
    send(event: FeedbackEvent, { signal, queue }?: SendOptions): Promise<Sent>;
    /**
     * Sends events in few requests. Faulty items are reported in the receipt; all others are stored. Browser keys open
     * single events only.
     *
     * @param {FeedbackEvent[]} events
     * @param {CallOptions} [options]
     * @returns {Promise<BatchReceipt>}
     */
    sendBatch(events: FeedbackEvent[], options?: CallOptions): Promise<BatchReceipt>;
    /**
     * Stores a prompt and its completion, so that events can refer to them by the id alone. Browser keys cannot.
     *
     * @param {string} completionId
     * @param {Completion} completion
     * @param {CallOptions} [options]
     * @returns {Promise<CompletionReceipt>}
     */
    registerCompletion(completionId: string, completion: Completion, { signal }?: CallOptions): Promise<CompletionReceipt>;
    /**
     * Registers completions in few requests. Faulty ones are reported in the receipt; all others are stored.
     *
     * @param {IdentifiedCompletion[]} completions
     * @param {CallOptions} [options]
     * @returns {Promise<CompletionBatchReceipt>}
     */
    registerCompletions(completions: IdentifiedCompletion[], options?: CallOptions): Promise<CompletionBatchReceipt>;
    /**
     * Sends any signal.
     *
     * @param {string} completionId
     * @param {Signal} signal
     * @param {Fields} fields
     * @param {SendOptions} [options]
     */
    feedback(completionId: string, signal: Signal, fields: Fields, options?: SendOptions): Promise<Sent>;
    /**
     * @param {string} completionId
     * @param {Fields & {comment?: string}} fields
     * @param {SendOptions} [options]
     */
    up(completionId: string, fields: Fields & {
        comment?: string;
    }, options?: SendOptions): Promise<Sent>;
    /**
     * @param {string} completionId
     * @param {Fields & {comment?: string}} fields
     * @param {SendOptions} [options]
     */
    down(completionId: string, fields: Fields & {
        comment?: string;
    }, options?: SendOptions): Promise<Sent>;
    /**
     * Sends the text that the user made of a completion.
     *
     * @param {string} completionId
     * @param {string} text
     * @param {Fields} fields
     * @param {SendOptions} [options]
     */
    edit(completionId: string, text: string, fields: Fields, options?: SendOptions): Promise<Sent>;
    /**
     * Sends a rating: stars from 1 to 5, or a value on another scale.
     *
     * @param {string} completionId
     * @param {number} value
     * @param {Fields & {minimum?: number, maximum?: number}} fields
     * @param {SendOptions} [options]
     */
    rate(completionId: string, value: number, fields: Fields & {
        minimum?: number;
        maximum?: number;
    }, options?: SendOptions): Promise<Sent>;
    /**
     * @param {string} completionId
     * @param {string} text
     * @param {Fields} fields
     * @param {SendOptions} [options]
     */
    comment(completionId: string, text: string, fields: Fields, options?: SendOptions): Promise<Sent>;
    /**
     * Takes back the event that `supersedes` names, or without it all earlier events of the actor about the completion.
     *
     * @param {string} completionId
     * @param {Fields} fields
     * @param {SendOptions} [options]
     */
    retract(completionId: string, fields: Fields, options?: SendOptions): Promise<Sent>;
    /**
     * Sends an event in the background and returns its id. Never throws: `onError` is called with events that are lost.
     *
     * @param {FeedbackEvent} event
     */
    enqueue(event: FeedbackEvent): string;
    /**
     * Waits until the queue is empty, and returns whether it is.
     *
     * @param {{timeout?: number}} [options] milliseconds
     */
    flush({ timeout }?: {
        timeout?: number;
    }): Promise<boolean>;
    /**
     * Flushes the queue, drops what is still in it, and removes its listeners.
     *
     * @param {{timeout?: number}} [options] milliseconds
     */
    close({ timeout }?: {
        timeout?: number;
    }): Promise<boolean>;
    #private;
}
export type Schemas = import("../types/api.js").components["schemas"];
export type FeedbackEvent = Schemas["Event"];
export type Signal = FeedbackEvent["signal"];
export type Fields = Omit<FeedbackEvent, "completion_id" | "signal">;
export type Completion = Schemas["Completion"];
export type IdentifiedCompletion = Schemas["IdentifiedCompletion"];
export type EventReceipt = Schemas["EventReceipt"];
export type BatchReceipt = Schemas["BatchReceipt"];
export type CompletionReceipt = Schemas["CompletionReceipt"];
export type CompletionBatchReceipt = Schemas["CompletionBatchReceipt"];
export type Problem = import("./errors.js").Problem;
export type Sent = {
    event_id: string;
    status: EventReceipt["status"] | "queued";
};
export type CallOptions = {
    signal?: AbortSignal;
};
/**
 * `queue`: return at once, and send in the background
 */
export type SendOptions = CallOptions & {
    queue?: boolean;
};
export type Options = {
    /**
     * address of the API; in Node, `THUMBWHEEL_URL` if it is left out
     */
    url?: string | undefined;
    /**
     * a browser key in pages, a server's key on servers; in Node, `THUMBWHEEL_API_KEY`
     */
    key?: string | undefined;
    /**
     * needed with a key of all projects; in Node, `THUMBWHEEL_PROJECT`
     */
    project?: string | undefined;
    /**
     * sends the requests
     */
    fetch?: typeof fetch | undefined;
    /**
     * milliseconds after which an attempt fails
     */
    timeout?: number | undefined;
    /**
     * attempts of one call; in the background there is no such limit
     */
    tries?: number | undefined;
    /**
     * milliseconds after which no further attempt begins; in the background, five minutes
     */
    retryTime?: number | undefined;
    /**
     * events that may wait in the background; later ones are dropped
     */
    queueSize?: number | undefined;
    /**
     * is called with queued events that are lost
     */
    onError?: ((error: Error, events: FeedbackEvent[]) => void) | undefined;
};
import { ThumbwheelError } from "./errors.js";
