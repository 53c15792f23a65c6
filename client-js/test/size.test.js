import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const built = readdirSync(new URL("..", import.meta.url)).includes("dist");

for (const name of ["client.js", "widget.js"]) {
  test(`${name} as it is shipped takes less than 5 kB`, { skip: built ? false : "no dist: npm run prepare" }, () => {
    assert.ok(gzipSync(readFileSync(dist + name)).length < 5_000);
  });
}
