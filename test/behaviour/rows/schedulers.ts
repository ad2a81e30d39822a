// How connections are shared out where a Service asks for more than chance, by annotation (docs/annotations.md).

import { service, slices, unready } from '../objects.ts';
import {
  at,
  type EndpointName,
  hashes,
  masqueraded,
  nodePort,
  type Outcome,
  REFUSED,
  reaches,
  rotates,
  type Scenario,
  type Statement,
  says,
  sticks,
  type Target,
  weighted,
} from '../row.ts';
import { clusterIp, EXTERNAL_IP, NODE_PORT, PLACES, type Place, REMOTE_NODE_NAME, ZONE } from '../world.ts';
import { byChanceInIptablesMode, nearlyEverywhereInIpvsMode } from './documented.ts';

const WEB = at(clusterIp());
const THREE = ['local-1', 'local-2', 'remote-1'] as const satisfies EndpointName[];
const TWO = ['local-1', 'remote-1'] as const satisfies EndpointName[];
const FOUR = ['local-2', 'remote-1', 'local-3', 'remote-2'] as const satisfies EndpointName[];
const OTHER_ZONE = 'zone-b';

const scheduled = (scheduler: string, weights?: string) => ({
  annotations: {
    'kproxy-ts.io/scheduler': scheduler,
    ...(weights !== undefined && { 'kproxy-ts.io/weights': weights }),
  },
});
const weighing = (weights: string) => ({ annotations: { 'kproxy-ts.io/weights': weights } });
/** An entry for both addresses of a place. */
const weightOf = (place: Place, weight: number): string =>
  `${PLACES[place][4]}=${weight},${PLACES[place][6]}=${weight}`;

/** As `says`, where the scheduler decides; `chance` is what comes of it where chance decides all the same. */
function saysScheduled(rule: string, from: Place, to: Target, outcome: Outcome, chance?: Outcome): Statement {
  return says(rule, from, to, outcome, byChanceInIptablesMode(outcome, chance));
}

const ROTATION: readonly Scenario[] = [
  {
    title: 'scheduler rr',
    objects: [
      service({ ...scheduled('rr'), ports: [{ nodePort: NODE_PORT }], externalIps: [EXTERNAL_IP] }),
      ...slices(THREE),
    ],
    statements: [
      saysScheduled('each connection of a pod gets the next endpoint', 'local-pod', WEB, rotates(THREE)),
      saysScheduled('so does each of a client', 'client', WEB, rotates(THREE, 'node')),
      saysScheduled('so does each at the node port', 'client', nodePort(), rotates(THREE, 'node')),
      saysScheduled('so does each at the external IP', 'local-pod', at(EXTERNAL_IP), rotates(THREE, 'node')),
      saysScheduled('so does each of the node', 'node', WEB, rotates(THREE, 'node')),
    ],
    sequels: [
      {
        when: 'an endpoint removed',
        objects: [service(scheduled('rr')), ...slices(['local-2', 'remote-1'])],
        statements: [
          saysScheduled('the others go on in turn', 'local-pod', WEB, rotates(['local-2', 'remote-1'])),
        ],
      },
      {
        when: 'one that is left',
        objects: [service(scheduled('rr')), ...slices(['local-2'])],
        statements: [says('is reached always', 'local-pod', WEB, reaches(['local-2']))],
      },
      {
        when: 'none left',
        objects: [service(scheduled('rr')), ...slices([])],
        statements: [says('refuses', 'local-pod', WEB, REFUSED)],
      },
    ],
  },
  {
    title: 'scheduler rr of two Services alike',
    objects: [
      service({ name: 'a', clusterIp: clusterIp(1), ...scheduled('rr') }),
      ...slices(THREE, { of: 'a' }),
      service({ name: 'b', clusterIp: clusterIp(2), ...scheduled('rr') }),
      ...slices(THREE, { of: 'b' }),
    ],
    statements: [
      saysScheduled(
        'each keeps its own turn, however their connections mix',
        'local-pod',
        at(clusterIp(1)),
        rotates(THREE, 'own', at(clusterIp(2))),
      ),
    ],
  },
  {
    title: 'scheduler rr of two ports of a Service',
    objects: [
      service({ ...scheduled('rr'), ports: [{ name: 'http' }, { name: 'admin', port: 9000 }] }),
      ...slices(THREE, { ports: [{ name: 'http' }, { name: 'admin' }] }),
    ],
    statements: [
      saysScheduled(
        'each keeps its own turn',
        'local-pod',
        WEB,
        rotates(THREE, 'own', at(clusterIp(), 9000)),
      ),
    ],
  },
  {
    title: 'scheduler rr with weights',
    objects: [service(scheduled('rr', weightOf('local-1', 3))), ...slices(THREE)],
    statements: [
      saysScheduled(
        'an endpoint has as many turns as it weighs',
        'local-pod',
        WEB,
        rotates({ 'local-1': 3, 'local-2': 1, 'remote-1': 1 }),
      ),
    ],
  },
  {
    title: 'scheduler rr and externalTrafficPolicy Local',
    objects: [
      service({ ...scheduled('rr'), ports: [{ nodePort: NODE_PORT }], externalLocal: true }),
      ...slices(THREE),
    ],
    statements: [
      saysScheduled(
        'a client gets the local ones in turn',
        'client',
        nodePort(),
        rotates(['local-1', 'local-2']),
      ),
      saysScheduled('a pod gets all in turn', 'local-pod', nodePort(), rotates(THREE)),
    ],
  },
];

const HASHES: readonly Scenario[] = (['sh', 'mh'] as const).flatMap((scheduler) => {
  const isMaglev = scheduler === 'mh';
  const asked = scheduled(scheduler);
  return [
    {
      title: `scheduler ${scheduler}`,
      objects: [
        service({ ...asked, ports: [{ nodePort: NODE_PORT }], externalIps: [EXTERNAL_IP] }),
        ...slices(THREE),
      ],
      statements: [
        saysScheduled('every client has an endpoint of its own', 'client', WEB, hashes(THREE, 'node')),
        saysScheduled('at the node port, too', 'client', nodePort(), hashes(THREE, 'node')),
        saysScheduled('at the external IP, too', 'client', at(EXTERNAL_IP), hashes(THREE, 'node')),
        saysScheduled('a pod has one', 'local-pod', WEB, hashes(THREE)),
        saysScheduled('the node has one', 'node', WEB, hashes(THREE, 'node')),
      ],
      sequels: [
        {
          when: 'an endpoint removed',
          objects: [service(asked), ...slices(['local-2', 'remote-1'])],
          statements: [
            saysScheduled(
              'its clients get others',
              'client',
              WEB,
              hashes(['local-2', 'remote-1'], 'node', { keepsMost: isMaglev }),
            ),
          ],
        },
        {
          when: 'others added',
          objects: [service(asked), ...slices(FOUR)],
          statements: [
            says(
              isMaglev ? 'clients use all, and the same on every node' : 'clients use all',
              'client',
              WEB,
              hashes(FOUR, 'node', { isEverywhere: isMaglev }),
              isMaglev
                ? nearlyEverywhereInIpvsMode(hashes(FOUR, 'node'))
                : byChanceInIptablesMode(hashes(FOUR, 'node')),
            ),
          ],
        },
      ],
    },
    {
      title: `scheduler ${scheduler} with weights`,
      objects: [
        service(scheduled(scheduler, `${weightOf('local-1', 2)},${weightOf('local-2', 0)}`)),
        ...slices(THREE),
      ],
      statements: [
        saysScheduled(
          'an endpoint of weight 0 gets no client',
          'client',
          WEB,
          hashes(TWO, 'node'),
          weighted({ 'local-1': 2, 'remote-1': 1 }, 'node'),
        ),
      ],
    },
    {
      title: `scheduler ${scheduler} and externalTrafficPolicy Local`,
      objects: [
        service({ ...asked, ports: [{ nodePort: NODE_PORT }], externalLocal: true }),
        ...slices(THREE),
      ],
      statements: [
        saysScheduled('a client has one of this node', 'client', nodePort(), hashes(['local-1', 'local-2'])),
        saysScheduled('a pod has one of all', 'local-pod', nodePort(), hashes(THREE)),
      ],
    },
    {
      title: `scheduler ${scheduler} and session affinity`,
      objects: [service({ ...asked, affinitySeconds: 10_800 }), ...slices(THREE)],
      statements: [says('every client has an endpoint of its own', 'client', WEB, hashes(THREE, 'node'))],
    },
    {
      title: `scheduler ${scheduler} of a single endpoint`,
      objects: [service(asked), ...slices(['local-1'])],
      statements: [says('is that endpoint', 'client', WEB, masqueraded(['local-1']))],
    },
  ] satisfies Scenario[];
});

const WEIGHTS: readonly Scenario[] = [
  {
    title: 'weights by address',
    objects: [
      service({ ...weighing(weightOf('local-1', 10)), ports: [{ nodePort: NODE_PORT }] }),
      ...slices(TWO),
    ],
    statements: [
      says('shares are in proportion', 'local-pod', WEB, weighted({ 'local-1': 10, 'remote-1': 1 })),
      says('at the node port, too', 'client', nodePort(), weighted({ 'local-1': 10, 'remote-1': 1 }, 'node')),
      says('for the node, too', 'node', WEB, weighted({ 'local-1': 10, 'remote-1': 1 }, 'node')),
    ],
    sequels: [
      {
        when: 'changed',
        objects: [service(weighing(weightOf('local-1', 3))), ...slices(THREE)],
        statements: [
          says('they change', 'local-pod', WEB, weighted({ 'local-1': 3, 'local-2': 1, 'remote-1': 1 })),
        ],
      },
      {
        when: 'taken away',
        objects: [service(), ...slices(THREE)],
        statements: [says('all are equal', 'local-pod', WEB, reaches(THREE))],
      },
    ],
  },
  {
    title: 'weights by node',
    objects: [service(weighing(`node/${REMOTE_NODE_NAME}=0,default=1`)), ...slices(THREE)],
    statements: [says('a node of weight 0 gets nothing', 'local-pod', WEB, reaches(['local-1', 'local-2']))],
  },
  {
    title: 'weights by zone',
    isTracedOnly: true,
    objects: [
      service(weighing(`zone/${ZONE}=3`)),
      ...slices([
        { at: 'local-1', zone: ZONE },
        { at: 'remote-1', zone: OTHER_ZONE },
      ]),
    ],
    statements: [
      says('shares are in proportion', 'local-pod', WEB, weighted({ 'local-1': 3, 'remote-1': 1 })),
    ],
  },
  {
    title: 'weights of several kinds for one endpoint',
    isTracedOnly: true,
    objects: [
      service(
        weighing(`${weightOf('remote-1', 4)},node/${REMOTE_NODE_NAME}=2,zone/${OTHER_ZONE}=8,default=1`),
      ),
      ...slices([
        { at: 'remote-1', zone: OTHER_ZONE },
        { at: 'remote-2', zone: OTHER_ZONE },
        { at: 'local-1', zone: OTHER_ZONE },
        { at: 'local-2', zone: ZONE },
      ]),
    ],
    statements: [
      says(
        'its address comes before its node, its node before its zone, its zone before the rest',
        'local-pod',
        WEB,
        weighted({ 'remote-1': 4, 'remote-2': 2, 'local-1': 8, 'local-2': 1 }),
      ),
    ],
  },
  {
    title: 'a weight of 0 for an endpoint that is the only one ready',
    objects: [
      service(weighing(`${weightOf('local-1', 0)},default=5`)),
      ...slices(['local-1', 'remote-1', unready('local-2')]),
    ],
    statements: [says('it gets nothing while others do', 'local-pod', WEB, reaches(['remote-1']))],
  },
  {
    title: 'weights and externalTrafficPolicy Local',
    isTracedOnly: true,
    objects: [
      service({ ...weighing(weightOf('local-1', 3)), ports: [{ nodePort: NODE_PORT }], externalLocal: true }),
      ...slices(THREE),
    ],
    statements: [
      says(
        'clients get those of this node in proportion',
        'client',
        nodePort(),
        weighted({ 'local-1': 3, 'local-2': 1 }),
      ),
      says(
        'pods get all in proportion',
        'local-pod',
        nodePort(),
        weighted({ 'local-1': 3, 'local-2': 1, 'remote-1': 1 }),
      ),
    ],
  },
  {
    title: 'weights and session affinity',
    objects: [
      service({ ...weighing(`${weightOf('local-1', 0)}`), affinitySeconds: 10_800 }),
      ...slices(THREE),
    ],
    statements: [
      says('a client sticks to one that weighs', 'client', WEB, sticks(['local-2', 'remote-1'], 'node')),
    ],
    sequels: [
      {
        when: 'one less that weighs',
        objects: [
          service({
            ...weighing(`${weightOf('local-1', 0)},${weightOf('local-2', 0)}`),
            affinitySeconds: 10_800,
          }),
          ...slices(THREE),
        ],
        statements: [says('its clients leave it', 'client', WEB, sticks(['remote-1'], 'node'))],
      },
    ],
  },
  {
    title: 'weights of endpoints that are not there',
    objects: [service(weighing('10.9.9.9=50,node/nowhere=9,zone/nowhere=9')), ...slices(TWO)],
    statements: [says('mean nothing', 'local-pod', WEB, reaches(TWO))],
  },
];

const DEFAULTS: readonly Scenario[] = [
  { title: 'scheduler random', annotations: scheduled('random').annotations },
  { title: 'a scheduler that nobody knows', annotations: scheduled('fastest').annotations },
  { title: 'an empty scheduler', annotations: scheduled('').annotations },
  { title: 'weights that cannot be read', annotations: weighing('10.1.0.11=heavy').annotations },
  { title: 'a weight that is too large', annotations: weighing('10.1.0.11=101').annotations },
  { title: 'a weight below 0', annotations: weighing('10.1.0.11=-1').annotations },
  { title: 'equal weights', annotations: weighing('default=7').annotations },
].map(({ title, annotations }) => ({
  title,
  objects: [service({ annotations }), ...slices(THREE)],
  statements: [says('is as if there were none: equal shares by chance', 'local-pod', WEB, reaches(THREE))],
}));

export const SCHEDULERS: readonly Scenario[] = [...ROTATION, ...HASHES, ...WEIGHTS, ...DEFAULTS];
