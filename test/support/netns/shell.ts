// A shell that stays, for short commands of which there are many: a process that a test runner starts costs a multiple of one
// that a shell starts, above all where the processor is emulated.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';

interface Waiting {
  readonly command: string;
  readonly lines: string[];
  resolve(output: string): void;
  reject(error: Error): void;
}

/** The part of a namespace that a shell needs. */
interface Host {
  spawn(argv: readonly string[]): ChildProcessWithoutNullStreams;
}

/** Follows the output of each command, with its exit status. */
const END = '-- kproxy-ts:';

/** Ends with the namespace, or when this process does. */
export class Shell {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: Waiting[] = [];

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.#hear(line));
    // A dead shell shows as the failure of its commands.
    child.stdin.on('error', () => undefined);
    child.stderr.resume();
    child.on('close', () => {
      for (const { command, reject } of this.#waiting.splice(0))
        reject(new Error(`${command}: the shell has ended`));
    });
  }

  static start(host: Host): Shell {
    return new Shell(host.spawn(['sh']));
  }

  /** Commands run one after the other. Gives what one prints, errors among it; rejects unless its status is 0. */
  run(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        reject(new Error(`${command}: the shell has ended`));
        return;
      }
      this.#waiting.push({ command, lines: [], resolve, reject });
      this.#child.stdin.write(`{ ${command}; } 2>&1 </dev/null; echo "${END} $?"\n`);
    });
  }

  #hear(line: string): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    if (!line.startsWith(END)) {
      first.lines.push(line);
      return;
    }
    this.#waiting.shift();
    const status = Number(line.slice(END.length));
    const output = first.lines.join('\n');
    if (status === 0) first.resolve(output);
    else first.reject(new Error(`${first.command}: exit status ${status}\n${output}`));
  }
}
