/** @typedef {import("./client.js").FeedbackEvent} FeedbackEvent */
/** @typedef {{event: FeedbackEvent, line: string, sending: boolean, due?: number}} Item `due`: sent then, not before */
export class Queue {
    /**
     * @param {import("./requests.js").Requests} requests
     * @param {{batches: boolean, size: number, onError: (error: Error, events: FeedbackEvent[]) => void}} settings
     */
    constructor(requests: import("./requests.js").Requests, { batches, size, onError }: {
        batches: boolean;
        size: number;
        onError: (error: Error, events: FeedbackEvent[]) => void;
    });
    requests: import("./requests.js").Requests;
    batches: boolean;
    size: number;
    onError: (error: Error, events: FeedbackEvent[]) => void;
    /** @param {FeedbackEvent} event */
    add(event: FeedbackEvent): void;
    /**
     * Sends what waits, and returns whether everything was answered in time.
     *
     * @param {number} timeout
     */
    flush(timeout: number): Promise<boolean>;
    /** @param {number} timeout */
    close(timeout: number): Promise<boolean>;
    #private;
}
export type FeedbackEvent = import("./client.js").FeedbackEvent;
/**
 * `due`: sent then, not before
 */
export type Item = {
    event: FeedbackEvent;
    line: string;
    sending: boolean;
    due?: number;
};
