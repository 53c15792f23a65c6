import assert from "node:assert/strict";
import { test } from "node:test";

test("a server may import the widget of its pages, though it has no elements", async () => {
  const { ThumbwheelThumbs } = await import("../src/widget.js");

  assert.equal(typeof ThumbwheelThumbs, "function");
});
