// A process in a namespace that is asked in lines, and answers each by one.

import { createInterface } from 'node:readline';
import type { Netns } from '../test/support/netns/netns.ts';

export class LineProcess {
  readonly #argv: readonly string[];
  readonly #child: ReturnType<Netns['spawn']>;
  readonly #lines: AsyncIterator<string>;

  /** It is killed with its namespace. */
  constructor(netns: Netns, argv: readonly string[]) {
    this.#argv = argv;
    this.#child = netns.spawn(argv);
    this.#child.stderr.on('data', (chunk: Buffer) => process.stderr.write(chunk));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The next line that it prints. @throws when it ends instead. */
  async line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    if (done === true) throw new Error(`${this.#argv.join(' ')}: ended early`);
    return value;
  }

  /** Its answer. */
  ask(question: string): Promise<string> {
    this.#child.stdin.write(`${question}\n`);
    return this.line();
  }
}
