/** A server that answers as it is told, and keeps what it received. */

import { once } from "node:events";
import { createServer } from "node:http";

/** @typedef {{status?: number, headers?: Record<string, string>, json?: unknown, text?: string, hang?: boolean}} Answer */
/** @typedef {{method?: string, path?: string, headers: import("node:http").IncomingHttpHeaders, body: string}} Received */

/**
 * @param {(received: Received, count: number) => Answer} answer `count`: how many requests there were
 */
export async function standIn(answer) {
  /** @type {Received[]} */
  const received = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    received.push({ method: request.method, path: request.url, headers: request.headers, body });
    const { status = 201, headers = {}, json, text, hang } = answer(received[received.length - 1], received.length);
    if (hang) return;
    if (status === 0) return request.socket.destroy();
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(text ?? JSON.stringify(json));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/**
 * Answers like the API, and knows nothing.
 *
 * @param {Received} received
 * @returns {Answer}
 */
export function stored({ path, body }) {
  if (!path?.match(/^\/v1\/\w+\/batch/)) return { json: { event_id: JSON.parse(body).event_id, status: "stored" } };
  const items = body.split("\n").map((line, index) => ({ index, event_id: JSON.parse(line).event_id, status: "stored" }));
  return { status: 200, json: { stored: items.length, replayed: 0, rejected: 0, items } };
}

/**
 * @param {number} status
 * @param {string} code
 * @param {Record<string, string>} [headers]
 * @returns {Answer}
 */
export function problem(status, code, headers) {
  const detail = `Refused: ${code}.`;
  const json = { type: `about:thumbwheel/${code}`, title: "A title", status, detail, code, errors: [], details: { a: 1 } };
  return { status, headers: { ...headers, "Content-Type": "application/problem+json" }, json };
}
