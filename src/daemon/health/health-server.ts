// The health server (`--healthz-bind-address`): /healthz for load balancers, /livez and /readyz for the kubelet.

import type { RequestListener } from 'node:http';
import type { HealthFacts, HttpAnswer } from './health-answer.ts';
import { healthzAnswer, livezAnswer, readyzAnswer } from './health-answer.ts';

const ANSWERS: Readonly<Record<string, (facts: HealthFacts, now: Date) => HttpAnswer>> = {
  '/healthz': healthzAnswer,
  '/livez': livezAnswer,
  '/readyz': readyzAnswer,
};

export interface HealthHandlerOptions {
  readonly facts: () => HealthFacts;
  readonly now: () => Date;
  /** Told of every answer: path without the slash, and status. */
  readonly onAnswer: (path: 'healthz' | 'livez' | 'readyz', status: number) => void;
}

/** Any method is answered, as kube-proxy does. */
export function healthHandler({ facts, now, onAnswer }: HealthHandlerOptions): RequestListener {
  return (request, response) => {
    const path = (request.url ?? '').split('?')[0]!;
    const answer = Object.hasOwn(ANSWERS, path) ? ANSWERS[path] : undefined;
    if (answer === undefined) {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('404 page not found\n');
      return;
    }
    const { status, headers, body } = answer(facts(), now());
    onAnswer(path.slice(1) as 'healthz' | 'livez' | 'readyz', status);
    response.writeHead(status, headers).end(body);
  };
}
