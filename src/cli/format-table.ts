// The virtual-IP table as text, pure: selection, order, and the four output formats of `kproxy-ts table`.

import { printable, printableLines } from '../config/printable.ts';
import { parseIp } from '../model/ip.ts';
import type { VipTableRow } from '../vip/table-row.ts';

/** Namespace and name of the row's Service, without the port name. */
function serviceOf(row: VipTableRow): [namespace: string, name: string] {
  const [, namespace = '', name = ''] = /^([^/]*)\/([^:]*)/.exec(row.service) ?? [];
  return [namespace, name];
}

/** `10.0.0.1:80`, `[fd00::1]:80`, `*:80`. */
function formatAddress(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

const formatVip = (row: VipTableRow) => `${formatAddress(row.address, row.port)}/${row.protocol}`;

/**
 * The rows of `namespace` ('' for all) that `filter` names: `namespace/name`, `name`, either with `:portname`,
 * or an address with or without port, of the virtual IP or of a backend, in any spelling the table prints.
 */
export function selectRows(
  rows: readonly VipTableRow[],
  filter: string | undefined,
  namespace: string,
): VipTableRow[] {
  const ip = filter === undefined ? undefined : parseIp(filter.replace(/^\[(.*)\]$/, '$1'));
  return rows.filter((row) => {
    const [rowNamespace, name] = serviceOf(row);
    if (namespace !== '' && rowNamespace !== namespace) return false;
    if (filter === undefined) return true;
    if (ip !== undefined) return row.address === ip || row.backends.some(({ address }) => address === ip);
    return (
      [name, `${rowNamespace}/${name}`, row.service, row.service.slice(rowNamespace.length + 1)].includes(
        filter,
      ) ||
      [formatAddress(row.address, row.port), formatVip(row)].includes(filter) ||
      row.backends.some(({ address, port }) => formatAddress(address, port) === filter)
    );
  });
}

/** By namespace, name, port, kind; then by what is left, so that the order never depends on the kernel's. */
export function sortRows(rows: readonly VipTableRow[]): VipTableRow[] {
  return rows
    .map((row) => ({ row, key: [...serviceOf(row), row.port, row.kind, row.protocol, row.address] }))
    .sort((a, b) => {
      const at = a.key.findIndex((part, i) => part !== b.key[i]);
      return at < 0 ? 0 : a.key[at]! < b.key[at]! ? -1 : 1;
    })
    .map(({ row }) => row);
}

/** Aligned columns, with a heading; `isWide` adds the kind and lists every backend. */
export function formatTable(rows: readonly VipTableRow[], isWide: boolean): string {
  const lines = rows.map((row) => {
    const connections = row.connections === undefined ? '-' : String(row.connections);
    return isWide
      ? [row.service, formatVip(row), row.kind, connections, formatBackends(row, Number.POSITIVE_INFINITY)]
      : [row.service, formatVip(row), formatBackends(row, 3), connections];
  });
  const heading = isWide
    ? ['SERVICE', 'VIP', 'KIND', 'CONNECTIONS', 'BACKENDS']
    : ['SERVICE', 'VIP', 'BACKENDS', 'CONNECTIONS'];
  return alignColumns([heading, ...lines.map((cells) => cells.map(printable))]);
}

/** An array of rows; connections are numbers, or strings where a number would lose digits. */
export function formatJson(rows: readonly VipTableRow[]): string {
  return `${printableLines(JSON.stringify(rows.map(plainRow), null, 2))}\n`;
}

/** The same as YAML, by the serializer given. */
export function formatYaml(rows: readonly VipTableRow[], dump: (value: unknown) => string): string {
  return printableLines(dump(rows.map(plainRow)));
}

function plainRow(row: VipTableRow): Record<string, unknown> {
  const { connections, ...rest } = row;
  if (connections === undefined) return rest;
  const isSafe = connections <= Number.MAX_SAFE_INTEGER;
  return { ...rest, connections: isSafe ? Number(connections) : String(connections) };
}

/** Up to `limit` backends in full; beyond that all but a few are counted. */
function formatBackends(row: VipTableRow, limit: number): string {
  const { portal } = row;
  if (row.backends.length === 0 && portal !== undefined)
    return `proxy ${formatAddress(portal.address, portal.port)}`;
  if (row.backends.length === 0) return EMPTY[row.action] ?? `none (${row.action})`;
  const shown = row.backends.length <= limit ? row.backends : row.backends.slice(0, limit - 1);
  const text = shown.map(({ address, port }) => formatAddress(address, port)).join(', ');
  const more = row.backends.length - shown.length;
  return more === 0 ? text : `${text} +${more} more`;
}

const EMPTY: Readonly<Record<string, string>> = {
  balance: 'none',
  refuse: 'none (refused)',
  drop: 'none (dropped)',
};

function alignColumns(table: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const cells of table) {
    for (const [i, cell] of cells.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  const last = widths.length - 1;
  const lines = table.map((cells) =>
    cells.map((cell, i) => (i === last ? cell : cell.padEnd(widths[i]! + 2))).join(''),
  );
  return `${lines.join('\n')}\n`;
}
