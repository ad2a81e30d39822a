// The local API server as a node sees it from within its network namespace, and what can become of the way there.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Netns } from '../netns/netns.ts';
import type { ApiServer } from './api-server.ts';

const RELAY = path.join(import.meta.dirname, 'relay.mjs');
const PORT = 6443;

export class ApiServerInNetns {
  /** What the daemon calls it. */
  readonly url = `http://127.0.0.1:${PORT}`;
  readonly #folder: string;
  readonly #gate: net.Server;
  readonly #relay: ChildProcess;
  readonly #sockets: Set<net.Socket>;

  private constructor(folder: string, gate: net.Server, relay: ChildProcess, sockets: Set<net.Socket>) {
    this.#folder = folder;
    this.#gate = gate;
    this.#relay = relay;
    this.#sockets = sockets;
  }

  static async open(netns: Netns, server: ApiServer): Promise<ApiServerInNetns> {
    const folder = mkdtempSync(path.join(tmpdir(), 'kproxy-relay-'));
    const socketPath = path.join(folder, 'socket');
    const { hostname, port } = new URL(server.url);
    const sockets = new Set<net.Socket>();
    const gate = net.createServer((near) => {
      const far = net.connect(Number(port), hostname);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          sockets.delete(from);
          to.destroy();
        });
      }
    });
    gate.listen(socketPath);
    await once(gate, 'listening');
    const relay = netns.spawn([process.execPath, RELAY, String(PORT), socketPath]);
    await once(relay.stdout, 'data');
    return new ApiServerInNetns(folder, gate, relay, sockets);
  }

  /** Connections are made, and nothing ever comes back. */
  freeze(): void {
    this.#relay.kill('SIGSTOP');
  }

  thaw(): void {
    this.#relay.kill('SIGCONT');
  }

  async close(): Promise<void> {
    this.#relay.kill('SIGKILL');
    for (const socket of this.#sockets) socket.destroy();
    this.#gate.close();
    await once(this.#gate, 'close');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
