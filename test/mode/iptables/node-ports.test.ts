// Where node ports are served (kube-proxy.md section 4.5, NodePort dispatch, and section 17).

import { describe, expect, test } from 'vitest';
import { nodePortPlaces } from '../../../src/mode/iptables/node-ports.ts';
import { formatCidr, parseCidr } from '../../../src/model/ip.ts';

const cases: [string, 4 | 6, boolean, string[], { places: string[]; except?: string; loopback?: boolean }][] =
  [
    ['everywhere', 4, true, ['0.0.0.0/0'], { places: ['any'], loopback: true }],
    ['everywhere but loopback', 4, false, ['0.0.0.0/0'], { places: ['! 127.0.0.0/8'] }],
    ['everywhere in IPv6', 6, true, ['::/0'], { places: ['! ::1/128'] }],
    ['whatever else is said', 4, true, ['10.0.0.0/8', '0.0.0.0/0'], { places: ['any'], loopback: true }],
    ['the primary address', 4, true, ['192.168.50.10/32'], { places: ['192.168.50.10/32'] }],
    ['nowhere, without an address of the family', 6, true, ['192.168.50.10/32'], { places: [] }],
    ['networks, each once', 4, true, ['10.0.0.0/8', '10.0.0.0/8'], { places: ['10.0.0.0/8'] }],
    ['loopback', 4, true, ['127.0.0.0/8'], { places: ['127.0.0.0/8'], loopback: true }],
    ['one loopback address', 4, true, ['127.0.0.1/32'], { places: ['127.0.0.1/32'], loopback: true }],
    ['no loopback when told not to', 4, false, ['127.0.0.0/8', '127.0.0.1/32'], { places: [] }],
    ['no loopback in IPv6', 6, true, ['::1/128', 'fd00::/8'], { places: ['fd00::/8'] }],
    [
      'a network that has loopback in it',
      4,
      true,
      ['126.0.0.0/7'],
      { places: ['126.0.0.0/7'], loopback: true },
    ],
    [
      'a network that has loopback in it, but loopback',
      4,
      false,
      ['126.0.0.0/7'],
      { places: ['126.0.0.0/7'], except: '127.0.0.0/8' },
    ],
    ['the same of IPv6', 6, true, ['::/1'], { places: ['::/1'], except: '::1/128' }],
    ['a network next to it', 4, false, ['126.0.0.0/8'], { places: ['126.0.0.0/8'] }],
  ];

describe('node ports are served', () => {
  test.each(cases)('%s (IPv%i, localhost %s)', (_, family, servesLocalhost, cidrs, expected) => {
    const { places, exceptLoopback, servesLoopback } = nodePortPlaces(
      family,
      cidrs.map((text) => parseCidr(text)!),
      servesLocalhost,
    );
    expect(
      places.map(({ destination }) =>
        destination === undefined
          ? 'any'
          : `${destination.isInverted ? '! ' : ''}${formatCidr(destination.cidr)}`,
      ),
    ).toEqual(expected.places);
    expect(exceptLoopback && formatCidr(exceptLoopback)).toBe(expected.except);
    expect(servesLoopback).toBe(expected.loopback ?? false);
  });
});
