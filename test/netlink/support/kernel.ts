// The nf_tables of a network namespace of its own, spoken to in bytes through a process inside it.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { collectDump } from '../../../src/netlink/dump.ts';
import {
  decodeFailures,
  type NetlinkFailure,
  type NetlinkMessage,
  splitMessages,
} from '../../../src/netlink/message.ts';
import {
  type Batch,
  type BatchOptions,
  encodeBatch,
  type NftRequest,
} from '../../../src/netlink/nftables/batch.ts';
import { type DumpRequest, encodeDumpRequest } from '../../../src/netlink/nftables/dump-request.ts';
import { decodeNotification, type NftNotification } from '../../../src/netlink/nftables/notification.ts';
import { Netns } from '../../support/netns/netns.ts';

export class TestKernel {
  readonly netns: Netns;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #notifications: AsyncIterator<string>;
  readonly #interfaces: Interface[];
  #seq = 1;

  private constructor(netns: Netns) {
    this.netns = netns;
    const root = fileURLToPath(new URL('../../..', import.meta.url));
    this.#child = netns.spawn([
      process.execPath,
      '--import',
      `${root}/scripts/register-typescript.mjs`,
      `${root}/test/netlink/child/kernel.ts`,
    ]);
    const lines = createInterface({ input: this.#child.stdout });
    const notifications = createInterface({ input: this.#child.stderr });
    this.#interfaces = [lines, notifications];
    this.#lines = lines[Symbol.asyncIterator]();
    this.#notifications = notifications[Symbol.asyncIterator]();
  }

  static async create(): Promise<TestKernel> {
    return new TestKernel(await Netns.create('netlink'));
  }

  async transact(request: Uint8Array): Promise<Uint8Array[]> {
    this.#child.stdin.write(`${Buffer.from(request).toString('hex')}\n`);
    const line = await this.#lines.next();
    if (line.done) throw new Error(`the process has ended: ${(await this.#notifications.next()).value}`);
    const { replies, code } = JSON.parse(line.value) as { replies?: string[]; code?: string };
    if (replies === undefined) throw new Error(`transact: ${code}`);
    return replies.map((reply) => Buffer.from(reply, 'hex'));
  }

  async commit(
    requests: readonly NftRequest[],
    options: Omit<BatchOptions, 'firstSeq'> = {},
  ): Promise<{ batch: Batch; failures: NetlinkFailure[] }> {
    const batch = encodeBatch(requests, { ...options, firstSeq: this.#seq });
    this.#seq = batch.nextSeq;
    return { batch, failures: decodeFailures(await this.transact(batch.bytes)) };
  }

  /** The messages of a dump, each decoded. */
  async dump<T>(request: DumpRequest, decode: (message: NetlinkMessage) => T): Promise<T[]> {
    const seq = this.#seq++;
    const replies = await this.transact(encodeDumpRequest(request, seq));
    return collectDump(replies, seq).messages.map(decode);
  }

  /** What the kernel announced up to and with the given generation, since the last call. */
  async notificationsUntil(genId: number): Promise<NftNotification[]> {
    const notifications: NftNotification[] = [];
    for (;;) {
      const line = await this.#notifications.next();
      if (line.done) throw new Error('the process has ended');
      const messages = splitMessages(Buffer.from(line.value, 'hex'));
      notifications.push(...messages.map(decodeNotification));
      const last = notifications.at(-1);
      if (last?.event === 'newGeneration' && last.value.genId === genId) return notifications;
    }
  }

  nft(...args: readonly string[]): Promise<string> {
    return this.netns.exec(['nft', ...args]);
  }

  async delete(): Promise<void> {
    for (const one of this.#interfaces) one.close();
    await this.netns.delete();
  }
}
