// What a service manager listens on: a datagram socket that says what came and who sent it. Node has none, so python3 does it,
// which compiling the addon needs anyway.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { expect } from 'vitest';

const LISTEN = `
import json, socket, struct, sys
address = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind("\\0" + address[1:] if address.startswith("@") else address)
print(json.dumps("listening"), flush=True)
while True:
    data, ancillary, flags, sender = s.recvmsg(65536, 256)
    pid = struct.unpack("3i", ancillary[0][2])[0]
    print(json.dumps({"text": data.decode(), "pid": pid}), flush=True)
`;

export interface Notification {
  readonly text: string;
  readonly pid: number;
}

export class NotifySocket {
  readonly received: Notification[] = [];
  readonly #child: ChildProcessByStdio<null, Readable, null>;

  private constructor(child: ChildProcessByStdio<null, Readable, null>) {
    this.#child = child;
  }

  /** `address` as in $NOTIFY_SOCKET; `wrapper` is a command that runs another, such as `ip netns exec x`. */
  static async open(address: string, wrapper: readonly string[] = []): Promise<NotifySocket> {
    const [program = '', ...args] = [...wrapper, 'python3', '-c', LISTEN, address];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const socket = new NotifySocket(child);
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error('the notify socket ended')));
      lines.once('line', () => resolve());
    });
    lines.on('line', (line) => socket.received.push(JSON.parse(line)));
    return socket;
  }

  get texts(): string[] {
    return this.received.map(({ text }) => text);
  }

  /** Waits for a datagram that contains the text, and gives the first. */
  async waitFor(part: string, timeoutMs = 10_000): Promise<Notification> {
    const found = () => this.received.find(({ text }) => text.includes(part));
    await expect.poll(found, { timeout: timeoutMs }).toBeDefined();
    return found()!;
  }

  /** It reads no more. */
  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  close(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
  }
}
