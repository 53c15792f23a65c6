/** Writes what the package ships: `dist/client.js` and `dist/widget.js`, minified, one file each. */

import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

await build({
  absWorkingDir: root,
  entryPoints: ["src/client.js", "src/widget.js"],
  outdir: "dist",
  bundle: true,
  external: ["./client.js"],
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
  sourcesContent: false,
  legalComments: "none",
  logLevel: "warning",
});
