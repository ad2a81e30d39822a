// The generation of the ruleset (NFTA_GEN_*): a counter of transactions. Unchanged between two looks means that nobody
// wrote; given to a batch, the batch fails with ERESTART if somebody did.

import { attr, required, struct } from '../attribute.ts';
import { string, u32be } from '../codec.ts';
import type { NetlinkMessage } from '../message.ts';
import { decodeMessage } from './header.ts';
import * as nft from './uapi.ts';

export interface Generation {
  readonly genId: number;
  /** Thread that wrote this generation, as a notification says; a reply names the thread that asks. */
  readonly pid?: number;
  readonly processName?: string;
}

const generationAttributes = struct({
  genId: required(nft.NFTA_GEN_ID, u32be),
  pid: attr(nft.NFTA_GEN_PROC_PID, u32be),
  processName: attr(nft.NFTA_GEN_PROC_NAME, string),
});

export function decodeGeneration(message: NetlinkMessage): Generation {
  const { family: _, ...generation } = decodeMessage('generation', message, generationAttributes);
  return generation;
}
