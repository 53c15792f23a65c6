/**
 * Writes `types/`: of the API, from the OpenAPI document, and of the sources, from their JSDoc comments. `--check` says
 * which files are stale instead.
 */

import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
/** The schemas that the client names; those that they name are added. */
const NAMED = [
  "Event", "EventReceipt", "BatchReceipt", "Completion", "CompletionReceipt", "IdentifiedCompletion",
  "CompletionBatchReceipt", "Problem",
];

/** What JSDoc comments cannot say of the widget. */
const WIDGET_GLOBALS = `
declare global {
  interface HTMLElementTagNameMap {
    "thumbwheel-thumbs": ThumbwheelThumbs;
  }
}
`;

/**
 * @param {any} document
 * @returns {import("openapi-typescript").OpenAPI3}
 */
function partOf(document) {
  /** @type {Record<string, any>} */
  const schemas = {};
  const names = [...NAMED];
  for (let name = names.pop(); name; name = names.pop()) {
    if (name in schemas) continue;
    schemas[name] = document.components.schemas[name];
    const references = JSON.stringify(schemas[name]).matchAll(/"#\/components\/schemas\/(\w+)"/g);
    names.push(...[...references].map(([, other]) => other));
  }
  const sorted = Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { openapi: document.openapi, info: document.info, paths: {}, components: { schemas: sorted } };
}

/** @param {string} folder */
async function write(folder) {
  const document = JSON.parse(readFileSync(join(root, "../docs/openapi.json"), "utf8"));
  const nodes = await openapiTS(partOf(document), { defaultNonNullable: false });
  const head = "// Written by `npm run types` from docs/openapi.json.\n\n";
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "api.d.ts"), head + astToString(nodes));
  const sources = ["client", "widget"].map((name) => join(root, `src/${name}.js`));
  const options = "--allowJs --checkJs --strict --declaration --emitDeclarationOnly --skipLibCheck --module nodenext";
  const target = ["--target", "es2022", "--lib", "es2023,dom,dom.iterable", "--types", "node"];
  execFileSync(process.execPath, [tsc, ...sources, ...options.split(" "), ...target, "--outDir", folder], {
    cwd: root,
    stdio: "inherit",
  });
  appendFileSync(join(folder, "widget.d.ts"), WIDGET_GLOBALS);
}

const kept = join(root, "types");
if (process.argv.includes("--check")) {
  const folder = mkdtempSync(join(tmpdir(), "thumbwheel-types-"));
  try {
    await write(folder);
    const names = new Set([...readdirSync(folder), ...readdirSync(kept)]);
    const stale = [...names].filter((name) => contents(folder, name) !== contents(kept, name));
    if (stale.length) {
      console.error(`types/ is stale (${stale.join(", ")}): run \`npm run types\`.`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
} else {
  rmSync(kept, { recursive: true, force: true });
  await write(kept);
}

/**
 * @param {string} folder
 * @param {string} name
 */
function contents(folder, name) {
  return readdirSync(folder).includes(name) ? readFileSync(join(folder, name), "utf8") : undefined;
}
