// What the kernel says of a generic netlink family (CTRL_CMD_GETFAMILY): the number it has since its module was loaded.

import { attr, required, sequenceOf, struct } from '../attribute.ts';
import { string, u16, u32 } from '../codec.ts';
import { endMessage, MESSAGE_FLAG, type NetlinkMessage } from '../message.ts';
import { Writer } from '../writer.ts';
import { beginGenetlink, openGenetlink } from './message.ts';
import * as genl from './uapi.ts';

export interface GenetlinkFamily {
  /** The type of its messages. */
  readonly id: number;
  readonly name: string;
  readonly version: number;
  /** Bytes of a header of its own between genlmsghdr and the attributes. */
  readonly headerBytes: number;
  /** The commands it takes, with their GENL_CMD_* and GENL_ADMIN_PERM flags. */
  readonly operations: readonly { readonly command: number; readonly flags: number }[];
  readonly multicastGroups: readonly { readonly name: string; readonly id: number }[];
}

const operation = struct({
  command: required(genl.CTRL_ATTR_OP_ID, u32),
  flags: required(genl.CTRL_ATTR_OP_FLAGS, u32),
});

const multicastGroup = struct({
  name: required(genl.CTRL_ATTR_MCAST_GRP_NAME, string),
  id: required(genl.CTRL_ATTR_MCAST_GRP_ID, u32),
});

const attributes = struct({
  id: required(genl.CTRL_ATTR_FAMILY_ID, u16),
  name: required(genl.CTRL_ATTR_FAMILY_NAME, string),
  version: required(genl.CTRL_ATTR_VERSION, u32),
  headerBytes: required(genl.CTRL_ATTR_HDRSIZE, u32),
  operations: attr(genl.CTRL_ATTR_OPS, sequenceOf(operation)),
  multicastGroups: attr(genl.CTRL_ATTR_MCAST_GROUPS, sequenceOf(multicastGroup)),
});

const question = struct({ name: required(genl.CTRL_ATTR_FAMILY_NAME, string) });

/** Asks for the family called `name`; the kernel answers ENOENT when it has none. */
export function encodeFamilyQuery(name: string, seq: number): Buffer {
  const writer = new Writer(64);
  const command = {
    familyId: genl.GENL_ID_CTRL,
    command: genl.CTRL_CMD_GETFAMILY,
    version: genl.CTRL_VERSION,
  };
  const start = beginGenetlink(writer, command, MESSAGE_FLAG.ack, seq);
  question.encode(writer, { name });
  endMessage(writer, start);
  return writer.bytes();
}

/** The family of a CTRL_CMD_NEWFAMILY. Throws DecodeError. */
export function decodeFamily(message: NetlinkMessage): GenetlinkFamily {
  const { command, reader } = openGenetlink(message, 'generic netlink family');
  if (command !== genl.CTRL_CMD_NEWFAMILY) throw reader.error(`unexpected command ${command}`, 0);
  const { operations = [], multicastGroups = [], ...family } = attributes.decode(reader);
  return { ...family, operations, multicastGroups };
}
