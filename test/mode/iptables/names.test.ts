// Names against vectors of kube-proxy's own tests (kube-proxy.md section 4.3), hashes against OpenSSL's.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { endpointChain, hash16, isOwnChain, servicePortHash } from '../../../src/mode/iptables/names.ts';
import { sha256 } from '../../../src/mode/iptables/sha256.ts';
import type { Ip } from '../../../src/model/ip.ts';

describe('sha256', () => {
  test.each([
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
  ])('FIPS 180-4 example %j', (text, digest) => {
    expect(Buffer.from(sha256(text)).toString('hex')).toBe(digest);
  });

  test('is what OpenSSL computes, at every length around the ends of blocks', () => {
    for (let length = 0; length < 300; length++) {
      const text = 'k'.repeat(length);
      expect(Buffer.from(sha256(text)).toString('hex')).toBe(createHash('sha256').update(text).digest('hex'));
    }
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), (text) => {
        expect(Buffer.from(sha256(text))).toEqual(createHash('sha256').update(text).digest());
      }),
    );
  });
});

describe('names', () => {
  test.each([
    ['ns1/svc1:p80', 'TCP', 'XPGD46QRK7WJZT7O'],
    ['default/kubernetes:https', 'TCP', 'NPX46M4PTMTKRN6Y'],
    ['kube-system/kube-dns:dns', 'UDP', 'TCOU7JCQXEZGVUNU'],
    ['ns1/svc1', 'TCP', 'AQI2S6QIMU7PVVRP'],
  ] as const)('service port %s %s is %s', (displayName, protocol, hash) => {
    expect(servicePortHash(displayName, protocol)).toBe(hash);
  });

  test.each([
    ['10.180.0.1', 'KUBE-SEP-SXIVWICOYRO3J4NJ'],
    ['fd00:10:180::1', 'KUBE-SEP-OGYCNMB4EMRUSJ6N'],
  ])('endpoint %s is %s', (ip, name) => {
    expect(endpointChain('ns1/svc1:p80', 'TCP', { ip: ip as Ip, port: 80 })).toBe(name);
  });

  test('a hash is the beginning of the base32 of the digest', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const bits = [...createHash('sha256').update(text).digest()]
          .map((byte) => byte.toString(2).padStart(8, '0'))
          .join('');
        const digits = bits.match(/.{5}/g)!.slice(0, 16);
        const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
        expect(hash16(text)).toBe(digits.map((digit) => alphabet[Number.parseInt(digit, 2)]).join(''));
      }),
    );
  });

  test.each([
    ['nat', 'KUBE-SVC-XPGD46QRK7WJZT7O', true],
    ['nat', 'KUBE-SVL-XPGD46QRK7WJZT7O', true],
    ['nat', 'KUBE-SEP-SXIVWICOYRO3J4NJ', true],
    ['nat', 'KUBE-SVC-S-10.96.0.0-12', true],
    ['filter', 'KUBE-SVCS-10.96.0.0-12', true],
    ['nat', 'KUBE-SVC-KPROXY-TS', true],
    ['nat', 'KUBE-MARK-MASQ', true],
    ['filter', 'KUBE-MARK-MASQ', false],
    ['filter', 'KUBE-PROXY-CANARY', true],
    ['mangle', 'KUBE-PROXY-CANARY', true],
    ['mangle', 'KUBE-IPTABLES-HINT', false],
    ['nat', 'KUBE-KUBELET-CANARY', false],
    ['filter', 'KUBE-FIREWALL', false],
    ['nat', 'KUBE-MARK-DROP', false],
    ['nat', 'DOCKER', false],
    ['filter', 'cali-FORWARD', false],
    ['nat', 'PREROUTING', false],
  ] as const)('%s %s is ours: %s', (table, name, isOwn) => {
    expect(isOwnChain(table, name)).toBe(isOwn);
  });
});
