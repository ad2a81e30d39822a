// A netlink socket in another network namespace than the one of this process: a small process there holds it. So the
// code under test runs here, where a test can watch and disturb it, against a real kernel.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import { type NetlinkEvent, type NetlinkTransport, TransactError } from '../../src/daemon/netlink-socket.ts';
import type { Netns } from './netns/netns.ts';

const AGENT = fileURLToPath(new URL('./remote-netlink-agent.mjs', import.meta.url));

interface Answer {
  readonly id: number;
  readonly replies?: Uint8Array[];
  readonly failure?: { readonly errno: number; readonly syscall: string; readonly replies: Uint8Array[] };
}

export class RemoteNetlink implements NetlinkTransport {
  readonly sendBufferBytes: number;
  readonly #agent: ChildProcess;
  readonly #waiting = new Map<number, { resolve(replies: Uint8Array[]): void; reject(error: Error): void }>();
  #onEvent: (event: NetlinkEvent) => void = () => undefined;
  #lastSubscription = 0;
  #lastId = 0;
  #isClosed = false;

  private constructor(agent: ChildProcess, sendBufferBytes: number) {
    this.#agent = agent;
    this.sendBufferBytes = sendBufferBytes;
    agent.on('message', (message) => {
      const { event } = message as { event?: { errno: number; bytes?: Uint8Array; subscription: number } };
      if (event === undefined) this.#settle(message as Answer);
      else if (event.subscription !== this.#lastSubscription) return;
      else if (event.bytes !== undefined) this.#onEvent({ kind: 'datagram', bytes: event.bytes });
      else if (event.errno === constants.errno.ENOBUFS) this.#onEvent({ kind: 'overrun' });
    });
    agent.on('close', () => this.close());
  }

  static async open(netns: Netns): Promise<RemoteNetlink> {
    const agent = spawn('ip', ['netns', 'exec', netns.name, process.execPath, AGENT], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    const [hello] = (await once(agent, 'message')) as [{ sendBufferBytes: number }];
    return new RemoteNetlink(agent, hello.sendBufferBytes);
  }

  transact(request: Uint8Array, sizes?: Uint32Array): Promise<Uint8Array[]> {
    if (this.#isClosed) return Promise.reject(new TransactError('EBADF', 9, 'sendmsg(closed)', []));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#agent.send({ id, request, sizes });
    });
  }

  /** Notifications of a multicast group, on a socket of their own there; until the next call, or the agent ends. */
  subscribe(group: number, onEvent: (event: NetlinkEvent) => void): { close(): void } {
    this.#onEvent = onEvent;
    this.#agent.send({ group, subscription: ++this.#lastSubscription });
    return { close: () => undefined };
  }

  reserveSendBuffer(): number {
    return this.sendBufferBytes;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#agent.kill('SIGKILL');
    for (const { reject } of this.#waiting.values()) reject(new TransactError('EBADF', 9, 'closed', []));
    this.#waiting.clear();
  }

  #settle({ id, replies, failure }: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (failure === undefined) waiting?.resolve(replies ?? []);
    else {
      const { errno, syscall } = failure;
      const code = getSystemErrorName(-errno);
      waiting?.reject(new TransactError(code, errno, `${syscall}(NETLINK_NETFILTER)`, failure.replies));
    }
  }
}
