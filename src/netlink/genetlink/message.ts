// Generic netlink messages (struct genlmsghdr, linux/genetlink.h): which command of which family. Knows no family.
//
//     | nlmsghdr, its type is the family's number | command 1 | version 1 | reserved 2 | attributes … |

import { beginMessage, MESSAGE_FLAG, type NetlinkMessage } from '../message.ts';
import { Reader } from '../reader.ts';
import type { Writer } from '../writer.ts';

export interface GenetlinkCommand {
  /** The number that the kernel gave the family when it was registered. */
  readonly familyId: number;
  readonly command: number;
  /** Of the family's interface. */
  readonly version: number;
}

/** Writes both headers of a request, and returns what `endMessage` takes; MESSAGE_FLAG.request is added. */
export function beginGenetlink(
  writer: Writer,
  { familyId, command, version }: GenetlinkCommand,
  flags: number,
  seq: number,
): number {
  const start = beginMessage(writer, familyId, MESSAGE_FLAG.request | flags, seq);
  writer.u8(command);
  writer.u8(version);
  writer.u16(0);
  return start;
}

/** The command of a message and a cursor at its attributes; `what` names it in errors. Throws DecodeError. */
export function openGenetlink(message: NetlinkMessage, what: string): { command: number; reader: Reader } {
  const reader = new Reader(what, message.payload);
  const command = reader.u8();
  reader.take(3);
  return { command, reader };
}
