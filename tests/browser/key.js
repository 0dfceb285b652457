// A server that wants a key: nobody comes in without it, and out again.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { LOOKS, screenshot, show, violations } from "./browser.js";
import { Server } from "./server.js";
import { withPage } from "./world.js";

const KEY = "a key of the suite";
let server;

before(async () => { server = await Server.start({ apiKey: KEY }); });
after(() => server?.stop());

test("a wrong key is refused, the right one lets in, and logging out ends it", async () => {
  await withPage(async (page) => {
    await page.goto("/ui/playground?job=");
    await page.waitForURL(/\/ui\/login\?next=/);
    for (const look of LOOKS) {
      await show(page, look);
      await screenshot(page, `login-${look.name}`);
      const found = await violations(page);
      assert.deepEqual(found, [], `${look.name}:\n${found.join("\n")}`);
    }
    const logIn = async (key) => {
      await page.fill("input[type=password]", key);
      await page.getByRole("button", { name: "Log in" }).click();
    };
    await logIn("another key");
    await page.getByRole("alert").waitFor();
    assert.match(page.url(), /\/ui\/login/);
    await logIn(KEY);
    await page.waitForURL(/\/ui\/playground/);
    assert.match(await page.textContent("h1"), /Playground/);
    const cookies = await page.context().cookies();
    assert.ok(cookies.length > 0 && cookies.every(({ httpOnly, value }) => httpOnly && !value.includes(KEY)));
    assert.ok(!(await page.content()).includes(KEY), "the key stands on no page");

    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL(/\/ui\/login/);
    await page.goto("/ui/datasets");
    await page.waitForURL(/\/ui\/login\?next=/);
  }, { server, expected: [/status of 401/] });
});
