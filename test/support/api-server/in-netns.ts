// Lets a daemon in a network namespace reach the API server of a test, which runs in the test's own process.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Netns } from '../netns/netns.ts';
import type { ApiServer } from './api-server.ts';

const FORWARD = fileURLToPath(new URL('forward.mjs', import.meta.url));

/** Inside, the server is at `url`; `close()` ends the way to it. */
export interface WayIn {
  readonly url: string;
  close(): Promise<void>;
}

/** The port is the server's own, so that its kubeconfigs hold inside, too. */
export async function letIn(netns: Netns, server: ApiServer): Promise<WayIn> {
  const folder = mkdtempSync(join(tmpdir(), 'kproxy-api-'));
  const file = join(folder, 'socket');
  const port = Number(new URL(server.url).port);
  const sockets = new Set<net.Socket>();
  const outside = net.createServer((near) => {
    const far = net.connect(port, '127.0.0.1');
    near.pipe(far);
    far.pipe(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  outside.listen(file);
  const inside = netns.spawn([process.execPath, FORWARD, String(port), file]);
  await once(inside.stdout, 'data');
  return {
    url: server.url,
    async close() {
      inside.kill('SIGKILL');
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => outside.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
