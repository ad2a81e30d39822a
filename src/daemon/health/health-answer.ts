// What /healthz, /livez and /readyz answer, as kube-proxy words it (pkg/proxy/healthcheck/proxy_health.go, KEP-3836).

import type { IpFamily } from '../../model/ip.ts';
import type { ProbeFacts } from '../probe/probe-health.ts';

/** The daemon as the health server sees it. */
export interface HealthFacts {
  readonly families: readonly IpFamily[];
  readonly isHealthy: boolean;
  readonly isLive: boolean;
  readonly isReady: boolean;
  /** Load balancers may send traffic to this node: it is known, not being deleted, not being scaled down. */
  readonly isNodeEligible: boolean;
  /** The rules follow objects as they were known then, which the source has not confirmed; undefined otherwise. */
  readonly staleSince: Date | undefined;
  /** Undefined when nothing is probed. */
  readonly probe?: ProbeFacts | undefined;
  /** When the kernel was last known to hold what was desired; undefined before the first time. */
  readonly updatedAt: Date | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const HEADERS = { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' };

/** Go's zero time, which kube-proxy shows before the first update. */
const NEVER = '0001-01-01T00:00:00Z';

/** Should load balancers use this node: healthy, and eligible. */
export function healthzAnswer(facts: HealthFacts, now: Date): HttpAnswer {
  return answer(facts, now, facts.isHealthy && facts.isNodeEligible, facts.isHealthy, {
    nodeEligible: facts.isNodeEligible,
  });
}

/** Should this process be left running. */
export function livezAnswer(facts: HealthFacts, now: Date): HttpAnswer {
  return answer(facts, now, facts.isLive, facts.isLive, {});
}

/**
 * Are the rules in force, for roll-outs and readiness probes: once, and healthy since; and do they work, where that is probed. kube-proxy
 * has no such path.
 */
export function readyzAnswer(facts: HealthFacts, now: Date): HttpAnswer {
  const { probe } = facts;
  const isReady = facts.isReady && facts.isHealthy && probe?.isPassing !== false;
  return answer(facts, now, isReady, isReady, probe === undefined ? {} : { probe: probeStatus(probe) });
}

function probeStatus({ address, isPassing, outcome }: ProbeFacts): object {
  return { address, passing: isPassing, ...(outcome !== undefined && { outcome }) };
}

function answer(
  { families, updatedAt, staleSince }: HealthFacts,
  now: Date,
  isOk: boolean,
  healthy: boolean,
  extra: object,
): HttpAnswer {
  const updated = updatedAt?.toISOString() ?? NEVER;
  const status = Object.fromEntries(
    families.map((family) => [`IPv${family}`, { lastUpdated: updated, healthy }]),
  );
  const body = {
    // As kube-proxy: the time of the answer while all is well, so that old checkers see a fresh one.
    lastUpdated: isOk ? now.toISOString() : updated,
    currentTime: now.toISOString(),
    ...extra,
    healthy,
    // Not in kube-proxy. A node whose API server is away serves as well as it can: that alone makes nobody unhealthy.
    ...(staleSince !== undefined && { staleSince: staleSince.toISOString() }),
    status,
  };
  return { status: isOk ? 200 : 503, headers: HEADERS, body: JSON.stringify(body) };
}
