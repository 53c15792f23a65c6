/**
 * `<thumbwheel-thumbs>`: two buttons that send a thumb up or down, and take it back when they are pressed again.
 *
 *     <thumbwheel-thumbs url="https://feedback.example.com" browser-key="twb_…" completion-id="msg-1042"
 *                        actor="user-77" comment></thumbwheel-thumbs>
 *
 * Attributes: `url`, `browser-key`, `completion-id`, `actor`; `comment`: offer a comment after a thumb down; `value`
 * and `event-id`: the vote that the actor has given before, `up` or `down`, and its event; texts, see `TEXTS`.
 * Property `client`: a `Thumbwheel` to send with, in place of `url` and `browser-key`.
 * Events: `thumbwheel-sent` with `{completionId, kind, value, eventId}`, `thumbwheel-error` with `{error}`.
 * Styles: `::part(up)`, `down`, `button`, `pressed`, `comment`, `send`, `status`; `--thumbwheel-background`, `-border`,
 * `-pressed`, `-focus`, `-radius`; slots `up` and `down` for other icons.
 */

import { Thumbwheel, newId } from "./client.js";

/** Texts by attribute. */
const TEXTS = {
  label: "Rate this answer",
  "label-up": "Good answer",
  "label-down": "Bad answer",
  "label-comment": "What was wrong?",
  "label-send": "Send",
  "text-thanks": "Thank you.",
  "text-removed": "Your vote was removed.",
  "text-limited": "Too many votes. Try again later.",
  "text-error": "Not sent. Try again.",
};
/** Milliseconds after which a press is no longer tried again: somebody is waiting. */
const RETRY_TIME = 8_000;
const COMMENT_CHARACTERS = 2_000;

const CSS = `
:host { display: inline-flex; flex-wrap: wrap; align-items: center; gap: .4em }
:host([hidden]), [hidden] { display: none !important }
[role=group], [part=comment] { display: inline-flex; gap: inherit; align-items: end }
label { display: grid; gap: .2em; font-size: .85em }
button, textarea {
  font: inherit; color: inherit; box-sizing: border-box; min-height: 2.25em; padding: .25em .5em;
  background: var(--thumbwheel-background, transparent); border-radius: var(--thumbwheel-radius, .5em);
  border: 1px solid var(--thumbwheel-border, color-mix(in srgb, currentColor 60%, transparent));
}
button { min-width: 2.25em; cursor: pointer }
button:hover { background: color-mix(in srgb, currentColor 10%, transparent) }
button[aria-pressed=true] {
  background: var(--thumbwheel-pressed, color-mix(in srgb, currentColor 20%, transparent));
  border-color: currentColor; box-shadow: inset 0 0 0 1px currentColor;
}
button[aria-disabled=true] { cursor: progress; opacity: .7 }
:focus-visible { outline: 2px solid var(--thumbwheel-focus, currentColor); outline-offset: 2px }
[role=status] { margin: 0; font-size: .85em }
@media (prefers-reduced-motion: no-preference) { button { transition: background-color .15s } }
@media (forced-colors: active) {
  button[aria-pressed=true] { forced-color-adjust: none; background: Highlight; color: HighlightText }
}`;

/** @typedef {import("./client.js").Signal} Signal */
/** @typedef {"up" | "down"} Thumb */
/** @typedef {{completionId: string | null, actor: string | null}} Subject */
/** @typedef {{value?: Thumb, eventId?: string, commentId?: string, tried?: {action: string, eventId: string}}} Vote */

/** This file may be imported on a server, too, where there are no elements. */
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});
/** @type {CSSStyleSheet | undefined} */
let sheet;

export class ThumbwheelThumbs extends Base {
  static observedAttributes = ["completion-id", "actor", "value", "event-id", ...Object.keys(TEXTS)];

  /** @type {Map<string, Vote>} Votes by completion and actor: a page may give an element another completion. */
  #votes = new Map();
  /** @type {{key: string, value?: Thumb} | undefined} The vote that is being sent. */
  #pending;
  /** @type {{source: string, client: Thumbwheel} | undefined} */
  #made;
  #up = this.#button("up", "👍");
  #down = this.#button("down", "👎");
  #group = make("div", { role: "group" }, this.#up, this.#down);
  #question = make("span", {});
  #text = make("textarea", { rows: "1", maxlength: `${COMMENT_CHARACTERS}` });
  #sender = make("button", { type: "button", part: "button send" });
  #box = make("div", { part: "comment", hidden: "" }, make("label", {}, this.#question, this.#text), this.#sender);
  #status = make("p", { role: "status", part: "status" });
  #root = this.attachShadow({ mode: "open" });

  constructor() {
    super();
    /** @type {Thumbwheel | undefined} A client to send with; a page may set it before this file is loaded. */
    this.client = this.client ?? undefined;
    const { value } = this;
    if (Reflect.ownKeys(this).includes("value") && Reflect.deleteProperty(this, "value")) this.value = value;
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(CSS);
    }
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.append(this.#group, this.#box, this.#status);
    this.#sender.addEventListener("click", () => this.#comment());
    this.#box.addEventListener("keydown", ({ key }) => key === "Escape" && this.#close());
  }

  connectedCallback() {
    this.#render();
  }

  /** @param {string} name */
  attributeChangedCallback(name) {
    if (name === "completion-id" || name === "actor") {
      this.#close();
      this.#text.value = "";
      this.#status.textContent = "";
    }
    this.#render();
  }

  /** The vote on this completion. */
  get value() {
    return this.#vote().value;
  }

  /** The vote that the actor has given before; it is not sent. */
  set value(value) {
    if (value) this.setAttribute("value", value);
    else this.removeAttribute("value");
  }

  /**
   * @param {Thumb} value
   * @param {string} icon
   */
  #button(value, icon) {
    const button = make("button", { type: "button" }, make("slot", { name: value }, icon));
    // The second click of a double click would take the vote back.
    button.addEventListener("click", ({ detail }) => detail > 1 || this.#press(value));
    return button;
  }

  /** @returns {Subject} */
  #subject() {
    return { completionId: this.getAttribute("completion-id"), actor: this.getAttribute("actor") };
  }

  /** @param {Subject} [subject] */
  #key(subject = this.#subject()) {
    return JSON.stringify(subject);
  }

  /** @returns {Vote} */
  #vote() {
    const value = this.getAttribute("value");
    const given = value === "up" || value === "down" ? { value, eventId: this.getAttribute("event-id") ?? undefined } : {};
    return this.#votes.get(this.#key()) ?? /** @type {Vote} */ (given);
  }

  #render() {
    const shown = this.#pending?.key === this.#key() ? this.#pending.value : this.value;
    const buttons = /** @type {const} */ ([[this.#up, "up"], [this.#down, "down"]]);
    for (const [button, value] of buttons) {
      const pressed = shown === value;
      set(button, {
        part: `button ${value}${pressed ? " pressed" : ""}`,
        "aria-label": this.#textOf(`label-${value}`),
        "aria-pressed": `${pressed}`,
        "aria-disabled": `${!!this.#pending}`,
      });
    }
    set(this.#group, { "aria-label": this.#textOf("label"), "aria-busy": `${!!this.#pending}` });
    this.#question.textContent = this.#textOf("label-comment");
    this.#sender.textContent = this.#textOf("label-send");
  }

  /** @param {keyof typeof TEXTS} name */
  #textOf(name) {
    return this.getAttribute(name) ?? TEXTS[name];
  }

  /** @param {Thumb} value */
  async #press(value) {
    if (this.#pending) return;
    const subject = this.#subject();
    const vote = this.#vote();
    this.#votes.set(this.#key(), vote);
    const undone = vote.value === value;
    const action = undone ? "retract" : value;
    // After a failure nobody knows whether the event was stored: pressed again, it is sent under the same id.
    if (vote.tried?.action !== action) vote.tried = { action, eventId: newId() };
    const { eventId } = vote.tried;
    this.#close();
    /** @type {Signal} */
    const signal = undone ? { kind: "retract" } : { kind: "thumbs", value };
    const next = undone ? undefined : value;
    const { commentId } = vote;
    const after = { value: next, eventId: next && eventId, tried: undefined, commentId: undefined };
    const ids = { event_id: eventId, supersedes: vote.eventId };
    if (!(await this.#send(subject, signal, ids, next, () => Object.assign(vote, after)))) return;
    const commentIds = { event_id: newId(), supersedes: commentId };
    if (undone && commentId && !(await this.#send(subject, signal, commentIds, next))) return;
    if (this.#key(subject) !== this.#key()) return;
    this.#status.textContent = this.#textOf(undone ? "text-removed" : "text-thanks");
    this.#box.hidden = next !== "down" || !this.hasAttribute("comment");
  }

  async #comment() {
    if (this.#pending) return;
    const subject = this.#subject();
    const vote = this.#vote();
    const text = this.#text.value.trim();
    const commentId = newId();
    if (text && !(await this.#send(subject, { kind: "comment", text }, { event_id: commentId }, vote.value))) return;
    if (text) vote.commentId = commentId;
    if (this.#key(subject) !== this.#key()) return;
    this.#text.value = "";
    this.#close();
    this.#status.textContent = this.#textOf("text-thanks");
  }

  #close() {
    const focused = this.#box.contains(this.#root.activeElement);
    this.#box.hidden = true;
    if (focused) this.#down.focus();
  }

  /**
   * Sends a signal and returns whether it was stored; says so if not.
   *
   * @param {Subject} subject
   * @param {Signal} signal
   * @param {{event_id: string, supersedes?: string}} ids
   * @param {Thumb | undefined} value the vote to show meanwhile
   * @param {() => void} [stored] remembers it, before anybody is told
   */
  async #send(subject, signal, ids, value, stored) {
    const { completionId, actor } = subject;
    this.#pending = { key: this.#key(subject), value };
    this.#status.textContent = "";
    this.#render();
    try {
      if (!completionId || !actor) throw new TypeError("thumbwheel-thumbs needs completion-id and actor.");
      await this.#sending().feedback(completionId, signal, { actor, ...ids });
      stored?.();
      this.#tell("thumbwheel-sent", { completionId, kind: signal.kind, value, eventId: ids.event_id });
      return true;
    } catch (error) {
      const limited = /** @type {{status?: number}} */ (error).status === 429;
      if (this.#key(subject) === this.#key()) {
        this.#status.textContent = this.#textOf(limited ? "text-limited" : "text-error");
      }
      this.#tell("thumbwheel-error", { completionId, error });
      return false;
    } finally {
      this.#pending = undefined;
      this.#render();
    }
  }

  #sending() {
    if (this.client) return this.client;
    const url = this.getAttribute("url") ?? "";
    const key = this.getAttribute("browser-key") ?? undefined;
    const source = `${key} ${url}`;
    if (this.#made?.source !== source) {
      this.#made = { source, client: new Thumbwheel({ url, key, retryTime: RETRY_TIME }) };
    }
    return this.#made.client;
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { bubbles: true, composed: true, detail }));
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children);
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {Record<string, string>} attributes
 */
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

if (globalThis.customElements && !customElements.get("thumbwheel-thumbs")) {
  customElements.define("thumbwheel-thumbs", ThumbwheelThumbs);
}
