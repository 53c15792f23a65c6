// Written by `npm run types` from docs/openapi.json.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** BatchItem */
        BatchItem: {
            /** Index */
            index: number;
            /** Event Id */
            event_id?: string | null;
            /**
             * Status
             * @description erased: the actor, or the event, was erased and stays away; rate_limited: the actor has reached a limit
             * @enum {string}
             */
            status: "stored" | "replayed" | "conflict" | "invalid" | "erased" | "rate_limited";
            /**
             * Retry After Seconds
             * @description when to send an item again that was over a limit
             */
            retry_after_seconds?: number | null;
            /**
             * Error
             * @description what is wrong with this item and what to do
             */
            error?: string | null;
            /**
             * Pointer
             * @description JSON pointer into the item
             */
            pointer?: string | null;
            /**
             * Differs
             * @description of a conflict: JSON pointers to what differs from what is stored
             */
            differs?: string[] | null;
        };
        /** BatchReceipt */
        BatchReceipt: {
            /** Stored */
            stored: number;
            /** Replayed */
            replayed: number;
            /** Rejected */
            rejected: number;
            /** Items */
            items: components["schemas"]["BatchItem"][];
        };
        /**
         * ChatWithTools
         * @description The messages of a chat, and the tools that the model could call.
         */
        ChatWithTools: {
            /** Messages */
            messages: components["schemas"]["Message"][];
            /**
             * Tools
             * @description the tools as JSON schemas, as they were sent to the model
             * @default null
             */
            tools?: {
                [key: string]: components["schemas"]["JsonValue"];
            }[] | null;
        };
        /**
         * Comment
         * @description A remark of the user about the completion.
         */
        Comment: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "comment";
            /** Text */
            text: string;
        };
        /**
         * Completion
         * @description A prompt and the completion of a model, for events that refer to it by its id alone.
         * @example {
         *       "completion": "It left our warehouse this morning and arrives tomorrow.",
         *       "prompt": [
         *         {
         *           "content": "Where is my parcel?",
         *           "role": "user"
         *         }
         *       ],
         *       "sampling": {
         *         "temperature": 0.7,
         *         "top_p": 0.95
         *       }
         *     }
         */
        Completion: {
            /** Prompt */
            prompt: string | components["schemas"]["Message"][] | components["schemas"]["ChatWithTools"];
            /**
             * Completion
             * @description what the model wrote: a text, or the assistant's message where it has tool_calls or reasoning
             */
            completion: string | components["schemas"]["Message"];
            /**
             * Checkpoint Id
             * @description the checkpoint that produced it, where known
             * @default null
             */
            checkpoint_id?: string | null;
            /**
             * Conversation Id
             * @description your own id of the conversation that the completion belongs to, which is on one side of the split as a whole; unset: derived where one prompt begins with another
             * @default null
             */
            conversation_id?: string | null;
            /**
             * Sampling
             * @description how it was sampled: temperature, top_p, seed, …
             * @default {}
             */
            sampling?: {
                [key: string]: components["schemas"]["JsonValue"];
            };
            /**
             * Token Ids
             * @description the completion as the model's tokens
             * @default null
             */
            token_ids?: number[] | null;
            /**
             * Log Probs
             * @description log-prob of each token when it was sampled, in nats
             * @default null
             */
            log_probs?: number[] | null;
            /**
             * Metadata
             * @description your own data, stored with it
             * @default {}
             */
            metadata?: {
                [key: string]: components["schemas"]["JsonValue"];
            };
        };
        /** CompletionBatchItem */
        CompletionBatchItem: {
            /** Index */
            index: number;
            /** Completion Id */
            completion_id?: string | null;
            /**
             * Status
             * @description erased: the completion was erased, and its id stays taken
             * @enum {string}
             */
            status: "stored" | "replayed" | "conflict" | "invalid" | "erased";
            /**
             * Error
             * @description what is wrong with this item and what to do
             */
            error?: string | null;
            /**
             * Pointer
             * @description JSON pointer into the item
             */
            pointer?: string | null;
            /**
             * Differs
             * @description of a conflict: JSON pointers to what differs from what is stored
             */
            differs?: string[] | null;
        };
        /** CompletionBatchReceipt */
        CompletionBatchReceipt: {
            /** Stored */
            stored: number;
            /** Replayed */
            replayed: number;
            /** Rejected */
            rejected: number;
            /** Items */
            items: components["schemas"]["CompletionBatchItem"][];
        };
        /** CompletionReceipt */
        CompletionReceipt: {
            /** Completion Id */
            completion_id: string;
            /**
             * Status
             * @enum {string}
             */
            status: "stored" | "replayed";
        };
        /**
         * ContentPart
         * @description A part of a message's content. Every part is stored as it was sent; only those with text are trained on.
         */
        ContentPart: {
            /**
             * Type
             * @description text, or that of another part, such as image_url
             */
            type: string;
            /**
             * Text
             * @description the text of a part of type text
             * @default null
             */
            text?: string | null;
        } & {
            [key: string]: unknown;
        };
        /**
         * Edit
         * @description The user changed the completion into `text` before using it. Unchanged, it is stored as accept.
         */
        Edit: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "edit";
            /** Text */
            text: string;
        };
        /**
         * Event
         * @description One piece of feedback about one completion. `prompt` and `completion` may be left out where another event about
         *     the same completion id carries them, or the completion is registered: before or after, in any order.
         * @example {
         *       "actor": "user-77",
         *       "completion": "It left our warehouse this morning and arrives tomorrow.",
         *       "completion_id": "msg-1042",
         *       "event_id": "vote-8f14e45f",
         *       "prompt": "Where is my parcel?",
         *       "signal": {
         *         "kind": "thumbs",
         *         "value": "up"
         *       }
         *     }
         */
        Event: {
            /**
             * Event Id
             * @description your id of this event; a retry with the same id stores nothing twice
             * @default null
             */
            event_id?: string | null;
            /**
             * Completion Id
             * @description your own id of the model output that this is about
             */
            completion_id: string;
            /**
             * Actor
             * @description opaque id of the user who gave the feedback
             */
            actor: string;
            /** Signal */
            signal: components["schemas"]["Thumbs"] | components["schemas"]["Edit"] | components["schemas"]["Rating"] | components["schemas"]["Implicit"] | components["schemas"]["Flag"] | components["schemas"]["Preference"] | components["schemas"]["Outcome"] | components["schemas"]["Comment"] | components["schemas"]["Retract"];
            /**
             * Prompt
             * @default null
             */
            prompt?: (string | components["schemas"]["Message"][] | components["schemas"]["ChatWithTools"]) | null;
            /**
             * Completion
             * @description what the model wrote: a text, or the assistant's message where it has tool_calls or reasoning
             * @default null
             */
            completion?: (string | components["schemas"]["Message"]) | null;
            /**
             * Checkpoint Id
             * @description the checkpoint that produced the completion, where known
             * @default null
             */
            checkpoint_id?: string | null;
            /**
             * Occurred At
             * @description time of the user's action; unset: the time of receipt
             * @default null
             */
            occurred_at?: string | null;
            /**
             * Supersedes
             * @description event_id of an earlier event of the same actor on this completion, which this event replaces
             * @default null
             */
            supersedes?: string | null;
            /**
             * Conversation Id
             * @description your own id of the conversation that the completion belongs to, which is on one side of the split as a whole; unset: derived where one prompt begins with another
             * @default null
             */
            conversation_id?: string | null;
            /**
             * Metadata
             * @description your own data, stored with it
             * @default {}
             */
            metadata?: {
                [key: string]: components["schemas"]["JsonValue"];
            };
            /**
             * Never Train
             * @description true: keep this event out of every snapshot
             * @default false
             */
            never_train?: boolean;
            /**
             * Origin
             * @description import: copied from elsewhere; without occurred_at its time is unknown
             * @default null
             */
            origin?: "import" | null;
        };
        /** EventReceipt */
        EventReceipt: {
            /** Event Id */
            event_id: string;
            /**
             * Status
             * @enum {string}
             */
            status: "stored" | "replayed";
        };
        /**
         * Flag
         * @description The user reported the completion, for example as ``unsafe`` or ``wrong``.
         */
        Flag: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "flag";
            /** Flags */
            flags: string[];
        };
        /** FunctionCall */
        FunctionCall: {
            /** Name */
            name: string;
            /**
             * Arguments
             * @description as the model wrote them, or decoded
             */
            arguments: string | {
                [key: string]: components["schemas"]["JsonValue"];
            };
        };
        /**
         * IdentifiedCompletion
         * @description A completion with its id, as one of a batch.
         * @example {
         *       "completion": "It left our warehouse this morning and arrives tomorrow.",
         *       "completion_id": "msg-1042",
         *       "prompt": [
         *         {
         *           "content": "Where is my parcel?",
         *           "role": "user"
         *         }
         *       ]
         *     }
         */
        IdentifiedCompletion: {
            /** Prompt */
            prompt: string | components["schemas"]["Message"][] | components["schemas"]["ChatWithTools"];
            /**
             * Completion
             * @description what the model wrote: a text, or the assistant's message where it has tool_calls or reasoning
             */
            completion: string | components["schemas"]["Message"];
            /**
             * Checkpoint Id
             * @description the checkpoint that produced it, where known
             * @default null
             */
            checkpoint_id?: string | null;
            /**
             * Conversation Id
             * @description your own id of the conversation that the completion belongs to, which is on one side of the split as a whole; unset: derived where one prompt begins with another
             * @default null
             */
            conversation_id?: string | null;
            /**
             * Sampling
             * @description how it was sampled: temperature, top_p, seed, …
             * @default {}
             */
            sampling?: {
                [key: string]: components["schemas"]["JsonValue"];
            };
            /**
             * Token Ids
             * @description the completion as the model's tokens
             * @default null
             */
            token_ids?: number[] | null;
            /**
             * Log Probs
             * @description log-prob of each token when it was sampled, in nats
             * @default null
             */
            log_probs?: number[] | null;
            /**
             * Metadata
             * @description your own data, stored with it
             * @default {}
             */
            metadata?: {
                [key: string]: components["schemas"]["JsonValue"];
            };
            /**
             * Completion Id
             * @description your own id of the model output, to which events refer
             */
            completion_id: string;
        };
        /**
         * Implicit
         * @description Something the user did without judging: weaker than an explicit verdict.
         *
         *     escalate, reopen and resolve are what became of the conversation or ticket that the completion was part of.
         */
        Implicit: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "accept" | "copy" | "escalate" | "regenerate" | "reject" | "reopen" | "resolve";
        };
        JsonValue: unknown;
        /**
         * Message
         * @description One turn of a chat. `content` may be left out where the assistant only calls tools.
         */
        Message: {
            /**
             * Role
             * @enum {string}
             */
            role: "system" | "developer" | "user" | "assistant" | "tool";
            /**
             * Content
             * @description a text, or a list of parts
             * @default null
             */
            content?: (string | components["schemas"]["ContentPart"][]) | null;
            /**
             * Name
             * @default null
             */
            name?: string | null;
            /**
             * Refusal
             * @description why the assistant refused, where OpenAI's API gives it apart
             * @default null
             */
            refusal?: string | null;
            /**
             * Reasoning Content
             * @description what the assistant thought before it answered
             * @default null
             */
            reasoning_content?: string | null;
            /**
             * Reasoning
             * @description the same, by the name that other servers use
             * @default null
             */
            reasoning?: string | null;
            /**
             * Tool Calls
             * @default null
             */
            tool_calls?: components["schemas"]["ToolCall"][] | null;
            /**
             * Tool Call Id
             * @description the call that a message of role tool answers
             * @default null
             */
            tool_call_id?: string | null;
        };
        /**
         * Outcome
         * @description A fact reported by the product, under the product's name for it: ``ticket_solved``, ``tests_passed``.
         */
        Outcome: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "outcome";
            /** Name */
            name: string;
            /** Value */
            value: boolean;
        };
        /**
         * Preference
         * @description The user compared this event's completion with another one of the same prompt, and preferred it, or neither.
         *
         *     The other one is given by its text `rejected`, then the event carries prompt and completion too; or by its id alone.
         */
        Preference: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "preference";
            /**
             * Rejected
             * @default null
             */
            rejected?: string | null;
            /**
             * Rejected Completion Id
             * @default null
             */
            rejected_completion_id?: string | null;
            /**
             * Tie
             * @description true: the user compared both and prefers neither
             * @default null
             */
            tie?: true | null;
        };
        /**
         * Problem
         * @description RFC 9457 problem details.
         */
        Problem: {
            /**
             * Type
             * @description about:thumbwheel/ and the stable code
             * @example about:thumbwheel/invalid_request
             */
            type: string;
            /** Title */
            title: string;
            /** Status */
            status: number;
            /**
             * Detail
             * @description what happened and the remedy, in a sentence
             */
            detail: string;
            /** Code */
            code: string;
            /**
             * Errors
             * @description the first 20
             * @default null
             */
            errors?: components["schemas"]["ProblemFault"][] | null;
            /**
             * Errors Total
             * @description how many faults there are, where `errors` holds only the first
             * @default null
             */
            errors_total?: number | null;
            /**
             * Reasons
             * @default null
             */
            reasons?: string[] | null;
            /**
             * Details
             * @default null
             */
            details?: {
                [key: string]: unknown;
            } | null;
        };
        /** ProblemFault */
        ProblemFault: {
            /**
             * Pointer
             * @description JSON pointer into the body, or the name of a parameter
             * @example /completion
             */
            pointer: string;
            /** Message */
            message: string;
        };
        /**
         * Rating
         * @description A value on a scale from `minimum` to `maximum`, higher is better.
         */
        Rating: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "rating";
            /** Value */
            value: number;
            /**
             * Minimum
             * @default 1
             */
            minimum?: number;
            /**
             * Maximum
             * @default 5
             */
            maximum?: number;
        };
        /**
         * Retract
         * @description The user retracts the event named by `supersedes`, or without it all their feedback on this completion so far.
         *     Retracted events stay in the log and no longer count.
         */
        Retract: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "retract";
        };
        /**
         * Thumbs
         * @description An explicit verdict.
         */
        Thumbs: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "thumbs";
            /**
             * Value
             * @enum {string}
             */
            value: "up" | "down";
        };
        /** ToolCall */
        ToolCall: {
            /**
             * Id
             * @default null
             */
            id?: string | null;
            /**
             * Type
             * @default function
             * @constant
             */
            type?: "function";
            function: components["schemas"]["FunctionCall"];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
