export class ThumbwheelThumbs extends HTMLElement {
    static observedAttributes: string[];
    /** @type {Thumbwheel | undefined} A client to send with; a page may set it before this file is loaded. */
    client: Thumbwheel | undefined;
    /** The vote that the actor has given before; it is not sent. */
    set value(value: Thumb | undefined);
    /** The vote on this completion. */
    get value(): Thumb | undefined;
    connectedCallback(): void;
    /** @param {string} name */
    attributeChangedCallback(name: string): void;
    #private;
}
export type Signal = import("./client.js").Signal;
export type Thumb = "up" | "down";
export type Subject = {
    completionId: string | null;
    actor: string | null;
};
export type Vote = {
    value?: Thumb;
    eventId?: string;
    commentId?: string;
    tried?: {
        action: string;
        eventId: string;
    };
};
import { Thumbwheel } from "./client.js";

declare global {
  interface HTMLElementTagNameMap {
    "thumbwheel-thumbs": ThumbwheelThumbs;
  }
}
