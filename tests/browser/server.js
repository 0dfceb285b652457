// A Matryo server for the suite: the real binary on a free port, with data of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Loading, training on some hundred rows: seconds, minutes on a busy machine. */
export const PATIENCE_MS = 600_000;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

/** Asks until `isSo` answers something, which is the answer. */
export async function until(what, isSo, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await isSo();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`${what} took too long`);
    await pause(50);
  }
}

export class Server {
  /** Starts one; `apiKey` is what it wants of clients. */
  static async start({ modelRoots = [], apiKey } = {}) {
    const server = new Server();
    server.folder = mkdtempSync(join(tmpdir(), "matryo-browser-"));
    server.url = `http://127.0.0.1:${await freePort()}`;
    server.apiKey = apiKey;
    server.log = join(server.folder, "log");
    // Offline: nothing here is to reach the Hub.
    const environment = { ...process.env, HF_HUB_OFFLINE: "1", RUST_LOG: "warn" };
    delete environment.MATRYO_API_KEY;
    if (apiKey) environment.MATRYO_API_KEY = apiKey;
    const roots = modelRoots.flatMap((root) => ["--model-root", root]);
    const args = ["serve", "--listen", new URL(server.url).host, "--data-dir", join(server.folder, "data"), ...roots];
    const log = openSync(server.log, "w");
    server.process = spawn(process.env.MATRYO_BINARY, args, { env: environment, stdio: ["ignore", "ignore", log] });
    server.ended = once(server.process, "exit");
    await until("the server's start", async () => {
      if (server.process.exitCode !== null) throw new Error(`the server has ended:\n${readFileSync(server.log, "utf8")}`);
      return fetch(`${server.url}/health`).then((response) => response.ok, () => false);
    });
    return server;
  }

  /** The JSON that a call answers. */
  async call(method, path, body) {
    const headers = { "content-type": "application/json" };
    if (this.apiKey) headers.authorization = `Bearer ${this.apiKey}`;
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  addModel(name, path) {
    return this.call("POST", "/v1/models", { source: "folder", path, name });
  }

  /** Stops it as an operator does; complains where it had ended badly or had a fault. */
  async stop() {
    this.process.kill("SIGTERM");
    const [code] = await this.ended;
    const log = readFileSync(this.log, "utf8");
    const faults = log.split("\n").filter((line) => line.includes(" ERROR ") || line.includes("panicked"));
    if (code !== 0 || faults.length > 0) throw new Error(`the server ended with ${code}:\n${log.slice(-4000)}`);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
