// The reply to a dump of flows, one datagram at a time: a node may track hundreds of thousands, and whoever reads them
// must be able to do something else in between.

import { DecodeError, KernelError } from '../../errors.ts';
import { decodeStatus, MESSAGE_FLAG, splitMessages } from '../message.ts';
import { decodeFlow, type Flow } from './flow.ts';

/**
 * Yields the flows of each datagram, and returns whether the kernel's table changed on the way (NLM_F_DUMP_INTR), so that
 * flows may be missing. A refusal is a KernelError that names `operation`; a reply without an end is a DecodeError.
 */
export function* readFlowDump(
  datagrams: readonly Uint8Array[],
  seq: number,
  operation: string,
): Generator<readonly Flow[], boolean> {
  let isInterrupted = false;
  for (const datagram of datagrams) {
    const flows: Flow[] = [];
    for (const message of splitMessages(datagram)) {
      if (message.seq !== seq) continue;
      isInterrupted ||= (message.flags & MESSAGE_FLAG.dumpInterrupted) !== 0;
      const status = decodeStatus(message);
      if (status?.kind === 'error') {
        throw new KernelError(status.code, status.errno, operation, status.message);
      }
      if (status !== undefined) {
        yield flows;
        return isInterrupted;
      }
      flows.push(decodeFlow(message));
    }
    yield flows;
  }
  throw new DecodeError(operation, 0, 'no end');
}
