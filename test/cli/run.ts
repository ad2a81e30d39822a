// Runs the command line without a process or a kernel: arguments and parts in, exit code and printed text out.

import { main } from '../../src/cli/main.ts';
import type { Parts } from '../../src/cli/parts.ts';
import { InternalError } from '../../src/errors.ts';

const unexpected = () => Promise.reject(new InternalError('this part was not to be used'));

/** Parts not given fail the run when used. */
export async function run(argv: readonly string[], parts: Partial<Parts> = {}) {
  const printed = { stdout: '', stderr: '' };
  const stream = (name: keyof typeof printed) => ({
    write: (text: string) => {
      printed[name] += text;
    },
  });
  const io = { stdout: stream('stdout'), stderr: stream('stderr'), isTty: false };
  const allParts = {
    runDaemon: unexpected,
    initNode: unexpected,
    readVipTable: unexpected,
    planDiff: unexpected,
    cleanUp: unexpected,
    ...parts,
  };
  const code = await main(argv, io, allParts);
  return { code, ...printed };
}
