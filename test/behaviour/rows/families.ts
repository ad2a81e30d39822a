// Dual stack: each family stands for itself (kube-proxy.md §2.2, §11.2).

import { node, service, slices } from '../objects.ts';
import { at, masqueraded, nodePort, PASSES, REFUSED, reaches, type Scenario, says } from '../row.ts';
import { clusterIp, EXTERNAL_IP, NODE_PORT } from '../world.ts';
import { servedUnlessToldOtherwise } from './documented.ts';

const WEB = at(clusterIp());

export const FAMILY_ROWS: readonly Scenario[] = [
  {
    title: 'a Service of IPv4 only',
    objects: [
      service({ families: [4], ports: [{ nodePort: NODE_PORT }] }),
      ...slices(['local-1', 'remote-1']),
    ],
    statements: [
      says('is reached over IPv4', 'local-pod', WEB, reaches(['local-1', 'remote-1']), { families: [4] }),
      says('leaves IPv6 alone', 'local-pod', WEB, PASSES, { families: [6] }),
      says('has its node port on IPv4', 'client', nodePort(), masqueraded(['local-1', 'remote-1']), {
        families: [4],
      }),
      says('has none on IPv6', 'client', nodePort(), PASSES, { families: [6] }),
    ],
  },
  {
    title: 'a Service of IPv6 only',
    objects: [
      service({ families: [6], ports: [{ nodePort: NODE_PORT }] }),
      ...slices(['local-1', 'remote-1']),
    ],
    statements: [
      says('is reached over IPv6', 'local-pod', WEB, reaches(['local-1', 'remote-1']), { families: [6] }),
      says('leaves IPv4 alone', 'local-pod', WEB, PASSES, { families: [4] }),
      says('has its node port on IPv6', 'client', nodePort(), masqueraded(['local-1', 'remote-1']), {
        families: [6],
      }),
      says('has none on IPv4', 'client', nodePort(), PASSES, { families: [4] }),
    ],
  },
  {
    title: 'a dual-stack Service whose first family is IPv6',
    objects: [
      service({ families: [6, 4], spec: { ipFamilyPolicy: 'PreferDualStack' } }),
      ...slices(['local-1']),
    ],
    statements: [says('is reached over both', 'local-pod', WEB, reaches(['local-1']))],
  },
  ...([4, 6] as const).map((family): Scenario => {
    const other = family === 4 ? 6 : 4;
    return {
      title: `a Node with addresses of IPv${family} only`,
      objects: [
        node({ families: [family] }),
        service({ ports: [{ nodePort: NODE_PORT }], spec: { ipFamilyPolicy: 'PreferDualStack' } }),
        ...slices(['local-1', 'remote-1']),
      ],
      statements: [
        says('serves node ports over it', 'client', nodePort(), masqueraded(['local-1', 'remote-1']), {
          families: [family],
        }),
        says('serves none over the other', 'client', nodePort(), PASSES, {
          families: [other],
          ...servedUnlessToldOtherwise(masqueraded(['local-1', 'remote-1'])),
        }),
        says('leads to cluster IPs of both', 'local-pod', WEB, reaches(['local-1', 'remote-1'])),
      ],
    };
  }),
  ...([4, 6] as const).map(
    (family): Scenario => ({
      title: `a Service that prefers two families and got IPv${family} only`,
      objects: [
        service({ families: [family], spec: { ipFamilyPolicy: 'PreferDualStack' } }),
        ...slices(['local-1']),
      ],
      statements: [
        says('is reached over that one', 'local-pod', WEB, reaches(['local-1']), { families: [family] }),
      ],
      sequels: [
        {
          when: 'the other later',
          objects: [service({ spec: { ipFamilyPolicy: 'PreferDualStack' } }), ...slices(['local-1'])],
          statements: [says('is reached over both', 'local-pod', WEB, reaches(['local-1']))],
        },
      ],
    }),
  ),
  {
    title: 'a dual-stack Service with endpoints of one family',
    objects: [service(), ...slices(['local-1'], { families: [4] })],
    statements: [
      says('is reached over that one', 'local-pod', WEB, reaches(['local-1']), { families: [4] }),
      says('refuses the other', 'local-pod', WEB, REFUSED, { families: [6] }),
    ],
  },
  {
    title: 'a dual-stack Service with different endpoints by family',
    objects: [
      service(),
      ...slices(['local-1'], { families: [4] }),
      ...slices(['local-2', 'remote-1'], { families: [6] }),
    ],
    statements: [
      says('IPv4 has its own', 'local-pod', WEB, reaches(['local-1']), { families: [4] }),
      says('IPv6 has its own', 'local-pod', WEB, reaches(['local-2', 'remote-1']), { families: [6] }),
    ],
  },
  {
    title: 'an external IP of a family that the Service does not have',
    objects: [
      service({ families: [4], spec: { externalIPs: [EXTERNAL_IP[4], EXTERNAL_IP[6]] } }),
      ...slices(['local-1']),
    ],
    statements: [
      says('is left alone', 'local-pod', at(EXTERNAL_IP), PASSES, { families: [6] }),
      says('does not harm the other', 'local-pod', at(EXTERNAL_IP), masqueraded(['local-1']), {
        families: [4],
      }),
    ],
  },
  {
    title: 'a Service as an old API server states it, without families',
    objects: [
      service({ families: [4], spec: { ipFamilies: undefined, clusterIPs: undefined } }),
      ...slices(['local-1']),
    ],
    statements: [
      says('has that of its cluster IP', 'local-pod', WEB, reaches(['local-1']), { families: [4] }),
    ],
  },
];
