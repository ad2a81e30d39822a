// Owning our tables: a table with the flags `owner` and `persist` is changed by the socket that owns it and by nobody else, not even
// by `nft flush ruleset`; when that socket is closed, the table stays without an owner, for a successor to adopt
// (nf_tables_updtable() and nft_rcv_nl_event() in net/netfilter/nf_tables_api.c, Linux 6.9).

import type { IpFamily } from '../../model/ip.ts';
import type { NftRequest } from '../../netlink/nftables/batch.ts';
import { TABLE_FLAGS } from '../../netlink/nftables/table.ts';
import { nftFamily, TABLE, tablePlace } from './names.ts';
import type { Observed } from './observed.ts';

/** The kernel deletes an owned table that does not persist with its socket. */
export const OWNED = TABLE_FLAGS.owner | TABLE_FLAGS.persist;

/** Of a table that leads to this process: without it, it leads nowhere (Linux 5.12). */
export const OWNED_PORTALS = TABLE_FLAGS.owner;

const PROBE_TABLE = `${TABLE}-probe`;

/** A transaction that leaves nothing behind; the kernel refuses it with EOPNOTSUPP where it does not know the flags. */
export function probeOwnership(flags: number): NftRequest[] {
  const probe = { family: nftFamily(4), table: PROBE_TABLE };
  return [
    { op: 'addTable', ...probe, flags },
    { op: 'deleteTable', ...probe },
  ];
}

/** Takes tables that nobody owns. Nothing in them changes, and nothing for packets. */
export function adoptTables(families: readonly IpFamily[], table: string): NftRequest[] {
  return families.map((family) => ({
    op: 'addTable',
    ...tablePlace(family, table),
    flags: OWNED,
  }));
}

export interface Ownership {
  /** Their tables can be adopted. */
  readonly orphans: readonly IpFamily[];
  /** Their tables belong to another socket, given by its netlink port. */
  readonly strangers: readonly { readonly family: IpFamily; readonly owner: number }[];
  /** Their tables were made without what makes them adoptable, which cannot be added: they stay as they are. */
  readonly ownerless: readonly IpFamily[];
}

/** `flags` are those that an owned table is to have. */
export function ownershipOf(observed: Observed, ownPortId: number, flags: number): Ownership {
  const canBeAdopted = (flags & TABLE_FLAGS.persist) !== 0;
  const tables = [...observed].map(([family, { owner, isPersistent }]) => ({ family, owner, isPersistent }));
  return {
    orphans: tables
      .filter(({ owner, isPersistent }) => owner === undefined && isPersistent && canBeAdopted)
      .map(({ family }) => family),
    strangers: tables.flatMap(({ family, owner }) =>
      owner === undefined || owner === ownPortId ? [] : [{ family, owner }],
    ),
    ownerless: tables
      .filter(({ owner, isPersistent }) => owner === undefined && !(isPersistent && canBeAdopted))
      .map(({ family }) => family),
  };
}
