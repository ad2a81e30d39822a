// Lets a daemon in a network namespace reach the API server of a test, which runs in the test's own process.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Netns } from '../netns/netns.ts';
import type { ApiServer } from './api-server.ts';

const FORWARD = path.join(import.meta.dirname, 'forward.mjs');

export class ApiServerInNetns {
  /** What the daemon calls it. The port is the server's own, so that its kubeconfigs hold inside, too. */
  readonly url: string;
  readonly #folder: string;
  readonly #gate: net.Server;
  readonly #relay: ChildProcess;
  readonly #sockets: Set<net.Socket>;

  private constructor(
    url: string,
    folder: string,
    gate: net.Server,
    relay: ChildProcess,
    sockets: Set<net.Socket>,
  ) {
    this.url = url;
    this.#folder = folder;
    this.#gate = gate;
    this.#relay = relay;
    this.#sockets = sockets;
  }

  static async open(netns: Netns, server: ApiServer): Promise<ApiServerInNetns> {
    const folder = mkdtempSync(path.join(tmpdir(), 'kproxy-api-'));
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
    const relay = netns.spawn([process.execPath, FORWARD, port, socketPath]);
    await once(relay.stdout, 'data');
    return new ApiServerInNetns(server.url, folder, gate, relay, sockets);
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
