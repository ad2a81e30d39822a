// The whole behaviour table.

import type { Scenario } from './row.ts';
import { AFFINITY } from './rows/affinity.ts';
import { CLUSTER_IP } from './rows/cluster-ip.ts';
import { CONFLICTS } from './rows/conflicts.ts';
import { DETECT_LOCAL } from './rows/detect-local.ts';
import { EXTERNAL } from './rows/external.ts';
import { EXTERNAL_POLICY } from './rows/external-policy.ts';
import { FAMILY_ROWS } from './rows/families.ts';
import { INTERNAL_POLICY } from './rows/internal-policy.ts';
import { MASQUERADE } from './rows/masquerade.ts';
import { NODE_PORTS } from './rows/node-port.ts';
import { READINESS } from './rows/readiness.ts';
import { SCHEDULERS } from './rows/schedulers.ts';
import { SERVICE_CIDR } from './rows/service-cidr.ts';
import { SOURCE_RANGES } from './rows/source-ranges.ts';
import { TOPOLOGY } from './rows/topology.ts';

export const SCENARIOS: readonly Scenario[] = [
  ...CLUSTER_IP,
  ...NODE_PORTS,
  ...EXTERNAL,
  ...READINESS,
  ...TOPOLOGY,
  ...INTERNAL_POLICY,
  ...EXTERNAL_POLICY,
  ...MASQUERADE,
  ...FAMILY_ROWS,
  ...CONFLICTS,
  ...SOURCE_RANGES,
  ...AFFINITY,
  ...SCHEDULERS,
  ...DETECT_LOCAL,
  ...SERVICE_CIDR,
];
