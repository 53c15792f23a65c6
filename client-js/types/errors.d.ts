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
    constructor(message: string, { status, code, problem, retryAfter, cause }: {
        status?: number;
        code: string;
        problem?: Partial<Problem>;
        retryAfter?: number;
        cause?: unknown;
    });
    status: number;
    code: string;
    title: string | undefined;
    errors: {
        pointer: string;
        message: string;
    }[];
    details: {
        [key: string]: unknown;
    };
    problem: Partial<{
        type: string;
        title: string;
        status: number;
        detail: string;
        code: string;
        errors?: import("../types/api.js").components["schemas"]["ProblemFault"][] | null;
        errors_total?: number | null;
        reasons?: string[] | null;
        details?: {
            [key: string]: unknown;
        } | null;
    }>;
    retryAfter: number | undefined;
    attempts: number;
    /** Whether the failure says nothing about the request itself, so that the same body may be sent again. */
    get transient(): boolean;
}
export type Problem = import("../types/api.js").components["schemas"]["Problem"];
