// Processes of dial.cc in namespaces: those that dial, batch by batch, and those that are dialled.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Netns } from '../test/support/netns/netns.ts';
import { LineProcess } from './line-process.ts';

export type Protocol = 'tcp' | 'udp';

/** Compiles dial.cc into `folder`; returns the program. */
export async function compileDial(folder: string): Promise<string> {
  const program = join(folder, 'dial');
  const source = fileURLToPath(new URL('dial.cc', import.meta.url));
  await promisify(execFile)('g++', ['-O2', '-std=c++20', '-o', program, source]);
  return program;
}

/** Takes every connection to that port in a namespace, and every datagram, until the namespace is deleted. */
export async function startSink(program: string, netns: Netns, port: number): Promise<void> {
  await new LineProcess(netns, [program, 'sink', String(port)]).line();
}

export class Dialer {
  readonly #process: LineProcess;

  constructor(program: string, netns: Netns) {
    this.#process = new LineProcess(netns, [program]);
  }

  /** Sets up one connection after the other. Returns what each took, in microseconds. */
  async dial(protocol: Protocol, port: number, addresses: readonly string[]): Promise<number[]> {
    const answer = await this.#process.ask([protocol, port, ...addresses].join(' '));
    if (answer.startsWith('error: ')) throw new Error(`dial ${protocol} ${port}: ${answer.slice(7)}`);
    return answer
      .trim()
      .split(' ')
      .map((nanoseconds) => Number(nanoseconds) / 1000);
  }
}
