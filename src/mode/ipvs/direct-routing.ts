// Frontends whose backends are asked to answer clients past this node (docs/annotations.md): which of them can, and what becomes
// of those that cannot.

import type { Problem } from '../../model/types.ts';
import type { Frontend } from '../../vip/frontend.ts';

/**
 * A Frontend as it can be served. This node and its pods never go by a tunnel: what the node sends there comes from the very
 * address that the backend has. Nor is a client masqueraded, or it would be this node that gets the answer.
 */
export function routed(frontend: Frontend): Frontend {
  if (frontend.isDirect !== true) return frontend;
  if (refusal(frontend) === undefined) {
    return { ...frontend, masquerade: 'never', insideBackends: frontend.insideBackends ?? frontend.backends };
  }
  const { isDirect: _, ...plain } = frontend;
  return plain;
}

/** Why answers of a Service come through this node although it asks for something else; undefined if they do not, or it does not. */
export function routingProblem(frontends: readonly Frontend[]): Problem | undefined {
  const direct = frontends.filter(({ isDirect }) => isDirect === true);
  const external = direct.filter(isExternal);
  const why =
    direct.length > 0 && external.length === 0
      ? 'it has no external or load-balancer IP, and node ports and cluster IPs are answered from here'
      : external.map(refusal).find((reason) => reason !== undefined);
  if (why === undefined) return undefined;
  const reason = `direct routing: ${why}; answers come through this node`;
  return { subject: `Service ${frontends[0]!.service}`, code: 'NO_DIRECT_ROUTING', reason };
}

/** A packet in a tunnel arrives as it was sent, and so at the port that was dialled. */
function refusal(frontend: Frontend): string | undefined {
  if (!isExternal(frontend)) return 'only external and load-balancer IPs can be';
  const { port, backends } = frontend;
  const remapped = backends.find((backend) => backend.port !== port);
  return (
    remapped && `port ${port} leads to port ${remapped.port} of ${remapped.ip}, and a tunnel changes no port`
  );
}

/** Node ports are translated, and cluster IPs dialled from where the answer must come back by the way it went. */
function isExternal({ kind }: Frontend): boolean {
  return kind === 'ExternalIP' || kind === 'LoadBalancer';
}
