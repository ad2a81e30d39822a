// Who may ask: whoever has a certificate of the CA, or a token. Either is enough, as for an API server; with neither configured
// everybody may.

import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, RequestListener } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { type Credentials, digestOf } from './credentials.ts';

type Known = Pick<Credentials, 'clientCa' | 'tokenDigests'>;

/** Whether requests need credentials. */
export function isGuarded({ clientCa, tokenDigests }: Known): boolean {
  return clientCa !== undefined || tokenDigests !== undefined;
}

/** `handler` for those who may ask; `known` is asked at each request. */
export function guarded(known: () => Known, handler: RequestListener): RequestListener {
  return (request, response) => {
    // A connection is as good as the credentials of the time when it was opened; so it is for one request.
    response.setHeader('Connection', 'close');
    if (mayAsk(request, known())) handler(request, response);
    else {
      const headers = { 'Content-Type': 'text/plain; charset=utf-8', 'WWW-Authenticate': 'Bearer' };
      response.writeHead(401, headers).end('unauthorized\n');
    }
  };
}

function mayAsk(request: IncomingMessage, known: Known): boolean {
  if (!isGuarded(known)) return true;
  if (known.clientCa !== undefined && (request.socket as TLSSocket).authorized) return true;
  const [, token] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
  if (token === undefined) return false;
  const digest = digestOf(token);
  return (known.tokenDigests ?? []).some((one) => timingSafeEqual(one, digest));
}
